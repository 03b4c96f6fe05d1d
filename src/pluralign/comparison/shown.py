"""Names and commands as pages show them: without the folders of the machine that wrote the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_ROOTED = re.compile(r"^((?:--[\w-]+=)?(?:judge:)?)(~?/.*)$")


def plain_name(name: str) -> str:
    """The last part of a path from the root or home, also behind "judge:" or "--flag="; other names as they are."""
    found = _ROOTED.match(name)
    return f"{found[1]}{Path(found[2]).name}" if found else name


def plain_command(command: str) -> str:
    """A command whose arguments are `plain_name`s."""
    return shlex.join(plain_name(word) for word in shlex.split(command))
