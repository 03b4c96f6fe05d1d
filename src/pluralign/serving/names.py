"""What the models of a server are called: by their folders, or as the operator says (NAME=RUN)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pluralign.errors import ConfigError

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.\-]{0,63})=(.+)", re.DOTALL)


def named(runs: Sequence[str | Path]) -> dict[str, Path]:
    """Folders by name. A run's name is its folder's; so is a policy folder's that stands in its run ("RUN/policy").

    Raises ConfigError where there is none, or two have one name.
    """
    if not runs:
        raise ConfigError("name at least one run folder or policy folder to serve")
    found: dict[str, Path] = {}
    for run in runs:
        said = None if Path(run).exists() else _NAMED.fullmatch(str(run))
        path = Path(said[2] if said else run)
        whole = path.resolve()
        name = said[1] if said else whole.parent.name if whole.name == "policy" else whole.name
        if name in found:
            raise ConfigError(f"{found[name]} and {path} would both be called {name!r}; name them: NAME=RUN")
        found[name] = path
    return found
