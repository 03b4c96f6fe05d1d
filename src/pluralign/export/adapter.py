"""A policy at one condition as one peft LoRA adapter for its base, exact by rank concatenation.

    Σ_j λ_j B_j A_j + s B_s A_s = [λ_1 B_1 ... s B_s] [A_1; ...; A_s]       the scale is 1, the rank the sum of the ranks

Letters: r rank, C coefficients.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pluralign.data.condition import Condition
from pluralign.errors import ModelError
from pluralign.export.check import Adapted, Exported
from pluralign.export.gguf_options import GgufKind, check_gguf
from pluralign.export.ranks import Factors, RankKind, chosen_rank, filled
from pluralign.export.whole import carded
from pluralign.model_card import model_card
from pluralign.policy import Policy
from pluralign.steering.deltas import Deltas, PluralLinear
from pluralign.steering.surgery import base_state, plural_layers
from pluralign.storage import atomic_write

log = logging.getLogger("pluralign")


def export_lora(
    policy: Policy,
    folder: str | Path,
    condition: Condition | None,
    *,
    rank: RankKind = "legal",
    gguf: GgufKind = "none",
    check: bool = True,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the policy at `condition` as one peft LoRA adapter for its base.

    `rank` fills it up with zeros to one that vLLM takes, or keeps each layer's own. `check` loads it with peft and
    compares; `gguf` writes adapter.gguf beside it. Raises ModelError where no LoRA holds the policy: a full-rank
    change, changed base weights (prompt steering, training in full), a base share that is not 1, or no change at all.
    """
    check_gguf(policy, gguf, words=False)
    changes = factors(policy, condition)
    if policy.model.config.tie_word_embeddings and head_changes(policy, changes):
        log.warning(
            "this adapter changes the head, which the base shares with its embeddings: beside this base it may be "
            "loaded, but not merged; format adapters writes a base with a head of its own"
        )
    with carded(folder, overwrite, model_card(policy, condition, "lora", report, licence)) as temporary:
        write_lora(policy, temporary, changes, rank)
        if gguf != "none":
            from pluralign.export.gguf_adapter import write_adapter

            write_adapter(policy, changes, temporary / "adapter.gguf", gguf)
        differences = {"adapter": Adapted(policy).check("adapter", temporary, condition)} if check else {}
    return Exported(Path(folder), differences)


def write_lora(policy: Policy, folder: Path, changes: Factors, rank: RankKind) -> int:
    """peft's two files into a folder that is being written; the largest rank in them."""
    from safetensors.torch import save

    config, tensors = lora(policy, changes, rank)
    folder.mkdir(exist_ok=True, parents=True)
    config.save_pretrained(str(folder))
    atomic_write(folder / "adapter_model.safetensors", save(tensors, {"format": "pt"}))
    return int(config.r)


@torch.no_grad()
def factors(policy: Policy, condition: Condition | None) -> Factors:
    """The policy's whole change under a condition, layer by layer; raises as `export_lora` does."""
    if not policy.steering.reference_inside:
        raise ModelError(
            "this policy's own weights were trained (a prompt-steered or fully trained model), which no LoRA adapter "
            "holds; export it as a whole model (format merged)"
        )
    checked = policy.check(condition)
    policy.steering.check_merge(checked)
    coefficients = policy.coefficients([checked])[0]
    found = {}
    for name, layer in plural_layers(policy.model).items():
        pair = _factors(name, layer, coefficients)
        if pair is not None:
            found[name] = pair
    if not found:
        raise ModelError(f"under {condition or 'no condition'} this policy is its base: there is no adapter to export")
    return found


def head_changes(policy: Policy, changes: Factors) -> bool:
    """Whether the head is among the changed layers."""
    head = policy.model.get_output_embeddings()
    return any(policy.model.get_submodule(name) is head for name in changes)


def lora(policy: Policy, changes: Factors, rank: RankKind = "legal") -> tuple[Any, dict[str, Tensor]]:
    """(peft's LoraConfig, tensors in peft's naming). Every scale is 1; one rank for all layers, unless it is natural."""
    from peft import LoraConfig

    ranks = {name: down.shape[0] for name, (down, _) in changes.items()}
    largest = chosen_rank(max(ranks.values()), rank)
    if rank == "legal":
        changes = {name: filled(*pair, largest) for name, pair in changes.items()}
    mixed = rank == "natural" and len(set(ranks.values())) > 1
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=policy.lineage.get("base"),
        inference_mode=True,
        r=largest,
        lora_alpha=largest,
        rank_pattern=ranks if mixed else {},
        alpha_pattern=ranks if mixed else {},
        target_modules=_targets(policy, changes),
        fan_in_fan_out=any(not isinstance(policy.model.get_submodule(name).base, nn.Linear) for name in changes),
    )
    tensors = {}
    for name, (down, up) in changes.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = down.float().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = up.float().cpu().contiguous()
    return config, tensors


def _targets(policy: Policy, changes: Factors) -> list[str]:
    """Last names of the changed layers, as servers expect them; full names where others are called the same."""
    leaves = {name.rpartition(".")[2] for name in changes}
    modules = {name.removesuffix(".weight") for name in base_state(policy.model)}
    alike = {name for name in modules if name.rpartition(".")[2] in leaves}
    return sorted(leaves if alike == set(changes) else changes)


def _factors(name: str, layer: PluralLinear, coefficients: Tensor) -> tuple[Tensor, Tensor] | None:
    """A [r, in] and B [out, r] of a layer's whole change under coefficients [C]; None where there is none."""
    if layer.objectives is not None and abs(float(coefficients[-1]) - 1.0) > 1e-6:
        raise ModelError(
            f"the base counts {float(coefficients[-1]):g} times here (base_share 'sum' and weights that do not sum to "
            "1), while an adapter adds to the whole base; ask for weights that sum to 1, or export a whole model"
        )
    downs, ups = [], []
    for deltas, shares in ((layer.objectives, coefficients[:-2]), (layer.shared, coefficients[-2:-1])):
        if deltas is None or not bool(shares.any()):
            continue
        _check_low_rank(name, deltas)
        down, up = deltas.factors(shares)
        downs.append(down)
        ups.append(up)
    return (torch.cat(downs), torch.cat(ups, dim=1)) if downs else None


def _check_low_rank(name: str, deltas: Deltas) -> None:
    if deltas.rank is None:
        raise ModelError(
            f"the change of {name} has full rank, which LoRA cannot hold; export a whole model (format merged), or "
            "train with a number as rank"
        )
