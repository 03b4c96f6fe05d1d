"""What a folder of several models or adapters says of itself: manifest.json, read by programs, beside its README.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pluralign import __version__
from pluralign.data.condition import Condition, to_json
from pluralign.export.check import ALLOWED
from pluralign.storage import write_json

if TYPE_CHECKING:
    from pluralign.policy import Policy

FORMAT_VERSION = 1
FILE = "manifest.json"


@dataclass(frozen=True)
class Part:
    """One model or adapter of the folder.

    `path` is relative to it, `gguf` the file in that path or None; `rank` is an adapter's (None: a whole model);
    `difference` from the policy in nats (None: not checked).
    """

    name: str
    kind: Literal["base", "objective", "preset"]
    condition: Condition | None
    path: str
    rank: int | None = None
    difference: float | None = None
    gguf: str | None = None

    def checked(self, difference: float | None) -> Part:
        """The same part with what its check found."""
        return replace(self, difference=difference)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        condition = None if self.condition is None else to_json(self.condition)
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "condition": condition}


@dataclass(frozen=True)
class Sums:
    """By how much the objectives' adapters, added with weights that sum to 1, differ from the policy (nats).

    `plain` at strength 1, `strong` at strength 1.5 (all weights times 1.5); None where the policy has no answer that is
    a sum of its objectives' (a front, a mixture of distributions).
    """

    plain: float | None = None
    strong: float | None = None

    @property
    def weights_add_up(self) -> bool:
        """At strength 1."""
        return self.plain is not None and self.plain <= ALLOWED

    @property
    def strengths_add_up(self) -> bool:
        """At other strengths too."""
        return self.weights_add_up and self.strong is not None and self.strong <= ALLOWED


def write_manifest(policy: Policy, folder: Path, parts: Sequence[Part], sums: Sums | None) -> None:
    """manifest.json of a folder that is being written."""
    ranks = [part.rank for part in parts if part.rank is not None]
    write_json(
        folder / FILE,
        {
            "format_version": FORMAT_VERSION,
            "pluralign": __version__,
            "base_fingerprint": policy.lineage.get("base_fingerprint"),
            "objectives": [objective.to_json() for objective in policy.objectives],
            "max_lora_rank": max(ranks, default=None),
            "allowed_difference": ALLOWED,
            "sums": None if sums is None else {"strength_1": sums.plain, "strength_1.5": sums.strong},
            "parts": [part.to_json() for part in parts],
        },
    )
