"""Folders of several: an adapter per objective and preset with their base, or a whole model per preset.

base/                the model without any condition; its head is its own where an adapter changes the head
objectives/NAME      the adapter of one objective, all weight on it; added with weights they are the policy
presets/NAME         the adapter, or the whole model, of one preset
manifest.json README.md       what is inside, how far it is from the policy, and how servers start on it
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pluralign.base_model import plain_model, save_base
from pluralign.data.condition import Condition, Weights, one_hot
from pluralign.data.presets import Presets
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.export.adapter import factors, head_changes, write_lora
from pluralign.export.check import Adapted, Exported
from pluralign.export.gguf_options import GgufKind, check_gguf
from pluralign.export.launch import launch_page, modelfile
from pluralign.export.manifest import Part, Sums, write_manifest
from pluralign.export.ranks import Factors, RankKind
from pluralign.export.whole import exported_tokenizer, write_whole
from pluralign.model_card import model_card
from pluralign.policy import Policy
from pluralign.steering.surgery import base_state
from pluralign.storage import atomic_folder, atomic_write

log = logging.getLogger("pluralign")
STRONG = 1.5


def export_adapters(
    policy: Policy,
    folder: str | Path,
    presets: Presets | None = None,
    *,
    objectives: bool = True,
    rank: RankKind = "legal",
    gguf: GgufKind = "none",
    check: bool = True,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write one adapter per objective (unless `objectives` is false) and per preset, and the base they belong to.

    Everything else as in `export_lora`; raises as it does, and ConfigError where two parts would have one name.
    """
    check_gguf(policy, gguf)
    asked = _asked(policy, presets, objectives)
    changes = {path: factors(policy, condition) for path, condition in asked.items()}
    with atomic_folder(folder, overwrite) as temporary:
        untied = any(head_changes(policy, each) for each in changes.values())
        parts = [_write_base(policy, temporary, untied, gguf)]
        for path, condition in asked.items():
            used = write_lora(policy, temporary / path, changes[path], rank)
            atomic_write(temporary / path / "README.md", model_card(policy, condition, "lora", report, licence))
            parts.append(_part(path, condition, used, _gguf_adapter(policy, changes[path], temporary / path, gguf)))
        parts, sums = _checked(policy, temporary, parts) if check else (parts, None)
        _close(policy, temporary, parts, sums)
    return Exported(Path(folder), _differences(parts, sums))


def export_presets(
    policy: Policy,
    folder: str | Path,
    presets: Presets,
    *,
    gguf: GgufKind = "none",
    check: bool = True,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write one whole model per preset. Everything else as in `whole.export`; raises as it does."""
    check_gguf(policy, gguf)
    parts = []
    with atomic_folder(folder, overwrite) as temporary:
        for path, condition in _asked(policy, presets, False).items():
            (temporary / path).mkdir(parents=True)
            found = write_whole(policy, temporary / path, condition, gguf, check)
            atomic_write(temporary / path / "README.md", model_card(policy, condition, "merged", report, licence))
            part = _part(path, condition, None, None if gguf == "none" else "model.gguf")
            parts.append(part.checked(found.get("model")))
        _close(policy, temporary, parts, None)
    return Exported(Path(folder), _differences(parts, None))


def _asked(policy: Policy, presets: Presets | None, objectives: bool) -> dict[str, Condition]:
    """The conditions of the parts by their paths. ConfigError without any, or where names are the same."""
    found: dict[str, Condition] = {}
    if objectives:
        found |= {f"objectives/{objective.name}": one_hot(objective.name) for objective in policy.objectives}
    found |= {f"presets/{name}": condition for name, condition in (presets or {}).items()}
    if not found:
        raise ConfigError("there is no preset to export; give a file of presets with --presets")
    seen = {"base"}
    for path in found:
        name = path.partition("/")[2]
        if name.casefold() in seen:
            raise ConfigError(
                f"two of the exported parts would be called {name!r} (objectives, presets and 'base' are served side by "
                "side, and capitals do not count); rename the preset"
            )
        seen.add(name.casefold())
    return found


def _part(path: str, condition: Condition, rank: int | None, gguf: str | None) -> Part:
    kind: Literal["objective", "preset"] = "objective" if path.startswith("objectives/") else "preset"
    return Part(path.partition("/")[2], kind, condition, path, rank, gguf=gguf)


def _write_base(policy: Policy, folder: Path, untied: bool, gguf: GgufKind) -> Part:
    base = plain_model(policy.model, base_state(policy.model))
    tied = policy.model.config.tie_word_embeddings and not untied
    if tied:
        base.config.tie_word_embeddings = True
        base.tie_weights()
    save_base(base, exported_tokenizer(policy), folder / "base")
    if gguf != "none":
        from pluralign.export.gguf_model import write_model

        write_model(policy, dict(base.state_dict()), folder / "base" / "model.gguf", gguf, tied=tied)
    return Part("base", "base", None, "base", gguf=None if gguf == "none" else "model.gguf")


def _gguf_adapter(policy: Policy, changes: Factors, folder: Path, gguf: GgufKind) -> str | None:
    if gguf == "none":
        return None
    from pluralign.export.gguf_adapter import write_adapter

    write_adapter(policy, changes, folder / "adapter.gguf", gguf)
    return "adapter.gguf"


def _checked(policy: Policy, folder: Path, parts: list[Part]) -> tuple[list[Part], Sums | None]:
    """The parts with what loading them again found, and the sums of the objectives' adapters."""
    adapted = Adapted(policy, folder / "base")
    found = []
    for part in parts:
        if part.kind == "base":
            found.append(part.checked(adapted.check_base()))
        else:
            found.append(part.checked(adapted.check(part.name, folder / part.path, part.condition)))
            if part.kind == "preset" and len(adapted.names) > 1:
                adapted.drop(part.name)
    names = [part.name for part in parts if part.kind == "objective"]
    return found, _sums(adapted, names) if names else None


def _sums(adapted: Adapted, names: list[str]) -> Sums:
    """Of uneven weights, at two strengths."""
    total = len(names) * (len(names) + 1) / 2
    weights = {name: (place + 1) / total for place, name in enumerate(names)}
    return Sums(*(_sum(adapted, Weights(weights, strength)) for strength in (1.0, STRONG)))


def _sum(adapted: Adapted, asked: Weights) -> float | None:
    try:
        return adapted.sum({name: asked.strength * weight for name, weight in asked.values.items()}, asked)
    except (ConditionError, ModelError) as error:
        log.info("the objectives' adapters cannot be added: %s", error)
        return None


def _close(policy: Policy, folder: Path, parts: list[Part], sums: Sums | None) -> None:
    for part in parts:
        if part.kind != "base":
            atomic_write(folder / part.path / "Modelfile", modelfile(policy, part))
    write_manifest(policy, folder, parts, sums)
    atomic_write(folder / "README.md", launch_page(policy, parts, sums))


def _differences(parts: list[Part], sums: Sums | None) -> dict[str, float]:
    """What the checks found, by name."""
    found = {part.name: part.difference for part in parts}
    if sums is not None:
        found |= {"sum of the objectives": sums.plain, f"sum at strength {STRONG:g}": sums.strong}
    return {name: nats for name, nats in found.items() if nats is not None}
