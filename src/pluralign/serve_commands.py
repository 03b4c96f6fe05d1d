"""The options of `pluralign serve`. `cli.py` turns fields into flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tyro.conf import Positional

from pluralign import api
from pluralign.errors import ConfigError
from pluralign.serving.keys import add_key
from pluralign.serving.settings import ServeSettings

Say = Callable[[dict[str, object], str], None]
"""Prints (a JSON-able value for --json, the text for people)."""


@dataclass(frozen=True, kw_only=True)
class Serve(ServeSettings):
    """Serve policies over HTTP in the manner of OpenAI's API; every request carries its own trade-off (docs/serve.md)."""

    runs: Positional[tuple[str, ...]] = ()
    """run folders or policy folders, each as NAME=FOLDER where its model is not to be called like its folder"""
    add_key: str | None = None
    """instead of serving: make an API key of this name, add its hash to --keys-file, and show the key once"""

    def run_(self, allow_extrapolation: bool, say: Say) -> None:
        """Serve until a signal comes; `say` hears when the server answers."""
        if self.add_key is not None:
            self._add_key(self.add_key, say)
            return
        api.serve(
            self.runs,
            self,
            allow_extrapolation=allow_extrapolation,
            ready=lambda address, names: say(
                {"address": address, "models": names}, f"serving {', '.join(names)} on {address}  (Ctrl-C ends it)"
            ),
        )

    def _add_key(self, name: str, say: Say) -> None:
        if self.keys_file is None or self.runs:
            raise ConfigError(
                "--add-key writes to a file and serves nothing: pluralign serve --add-key NAME --keys-file FILE"
            )
        key = add_key(self.keys_file, name)
        say(
            {"name": name, "key": key, "keys_file": str(self.keys_file)},
            f"{key}\n(shown once; its hash is in {self.keys_file})",
        )
