"""Scorers by name, as the command line gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluralign.errors import ConfigError
from pluralign.plugins import load_class

if TYPE_CHECKING:
    from pluralign.scorers.contract import Scorer


def open_scorer(name: str) -> Scorer:
    """'lab' or module:Class (called without arguments). Raises ConfigError for another name."""
    if name == "lab":
        from pluralign.lab.scoring import ExactScorer

        return ExactScorer()
    if ":" not in name:
        raise ConfigError(f"unknown scorer {name!r}; known is lab (or module:Class of your own)")
    found: Scorer = load_class(name, "")()
    return found
