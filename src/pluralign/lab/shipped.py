"""Where the shipped base models lie."""

from __future__ import annotations

from pathlib import Path

from pluralign.errors import ConfigError

MODELS = Path(__file__).parent / "models"
NAMES = ("base", "nano")


def base_path(name: str = "base") -> Path:
    """The folder of a shipped base model, an ordinary checkpoint: "base" (the lab's) or "nano" (the nano world's)."""
    if name not in NAMES:
        raise ConfigError(f"the lab ships the models {', '.join(NAMES)}, got {name!r}")
    return MODELS / name
