"""The tables of `pluralign compare` by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pluralign.comparison.options import CompareOptions
from pluralign.comparison.shown import plain_command


def compare(options: CompareOptions, command: str = "") -> dict[str, Any]:
    """Do what a table asks for and write its page; everything on it as JSON. `command`: as the page quotes it.

    Raises PluralignError of many kinds, each with what to do; what is wrong with one row is told on the page instead.
    """
    command = plain_command(command)
    if options.table in ("methods", "mechanism_loss"):
        from pluralign.comparison import lab_tables

        return lab_tables.publish(options, command)
    module = import_module(f"pluralign.comparison.named.{options.table}")
    found: dict[str, Any] = module.publish(options, command)
    return found
