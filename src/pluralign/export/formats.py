"""The formats of `pluralign export` by name, and which options act in which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pluralign.data.condition import Condition
from pluralign.data.presets import Presets
from pluralign.errors import ConfigError
from pluralign.export.adapter import export_lora
from pluralign.export.bundle import export_adapters, export_presets
from pluralign.export.check import Exported
from pluralign.export.gguf_options import GgufKind
from pluralign.export.ranks import RankKind
from pluralign.export.whole import export
from pluralign.policy import Policy

Format = Literal["merged", "lora", "adapters", "presets"]
Each = Literal["merged", "lora"]
ACTS = {
    "merged": {"steer"},
    "lora": {"steer", "rank"},
    "adapters": {"presets", "rank"},
    "presets": {"presets", "each", "rank"},
}
"""gguf, check and report act everywhere"""


def export_as(
    format: Format,
    policy: Policy,
    folder: str | Path,
    condition: Condition | None = None,
    *,
    presets: str | Path | None = None,
    each: Each | None = None,
    rank: RankKind | None = None,
    gguf: GgufKind = "none",
    check: bool = True,
    report: Mapping[str, Any] | None = None,
) -> Exported:
    """Write the policy in a format; None is the default of an option that may not be given everywhere.

    Raises ConfigError for an option that would not act, DataError for a bad file of presets, and what the format raises.
    """
    _refuse_idle(format, {"steer": condition, "presets": presets, "each": each, "rank": rank})
    named = None if presets is None else Presets.read(presets, policy.objectives, policy.bounds)
    common: dict[str, Any] = {"gguf": gguf, "check": check, "report": report}
    if format == "merged":
        return export(policy, folder, condition, **common)
    if format == "lora":
        return export_lora(policy, folder, condition, rank=rank or "legal", **common)
    if format == "adapters":
        return export_adapters(policy, folder, named, rank=rank or "legal", **common)
    if named is None:
        raise ConfigError("format presets needs a file of presets: --presets FILE.json")
    if each == "lora":
        return export_adapters(policy, folder, named, objectives=False, rank=rank or "legal", **common)
    if rank is not None:
        raise ConfigError("--rank acts on adapters: give --each lora with it, or leave it out")
    return export_presets(policy, folder, named, **common)


def _refuse_idle(format: str, options: Mapping[str, Any]) -> None:
    """ConfigError for an unknown format, and for an option that is given and would do nothing."""
    if format not in ACTS:
        raise ConfigError(f"unknown format {format!r}; allowed are {', '.join(ACTS)}")
    for name, value in options.items():
        if value is not None and name not in ACTS[format]:
            where = " and ".join(known for known, acts in ACTS.items() if name in acts)
            raise ConfigError(f"--{name} does nothing in format {format}: it acts in {where}; leave it out")
