"""Leaving pluralign: a policy at one condition as a plain Hugging Face folder, or as one peft LoRA adapter.

Both are read by programs that know nothing of conditions (transformers, vLLM, llama.cpp, ...): the condition is fixed
at export. Letters: r rank, C coefficients.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pluralign.base_model import save_base
from pluralign.data.condition import Condition
from pluralign.errors import ModelError
from pluralign.model_card import model_card, written_condition
from pluralign.policy import Policy
from pluralign.steering.deltas import Deltas, PluralLinear
from pluralign.steering.surgery import plural_layers
from pluralign.storage import atomic_folder, atomic_write

log = logging.getLogger("pluralign")


def export(
    policy: Policy,
    folder: str | Path,
    condition: Condition | None,
    *,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the policy at `condition` (None: unsteered) as a plain model with tokenizer, chat template and model card.

    `report` is the content of a report.json, whose numbers go into the card; `licence` is an id such as "apache-2.0"
    for the new weights. A prompt-steered policy is exported unsteered only, and its card says how to write a condition
    into the prompt: no weights hold it. Raises ModelError where one is asked for, ConditionError, StorageError.
    """
    merged = policy.merge(condition)
    if written_condition(policy) is not None:
        log.warning(
            "a condition is text for this policy, so none is in the weights; the model card says how to write one"
        )
    tokenizer = copy.deepcopy(policy.encoder.tokenizer)
    tokenizer.chat_template = policy.encoder.chat_template()
    with _carded(folder, overwrite, model_card(policy, condition, "merged", report, licence)) as temporary:
        save_base(merged, tokenizer, temporary)
    return Path(folder)


def export_lora(
    policy: Policy,
    folder: str | Path,
    condition: Condition | None,
    *,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the policy at `condition` as one peft LoRA adapter for its base, exact by rank concatenation.

    Σ_j λ_j B_j A_j + s B_s A_s = [λ_1 B_1 ... s B_s] [A_1; ...; A_s]: the rank is the sum of the ranks, the scale 1.
    Raises ModelError where no LoRA holds the policy: a full-rank change, changed base weights (prompt steering,
    training in full), a base share that is not 1, or no change at all.
    """
    from safetensors.torch import save

    config, tensors = lora(policy, condition)
    with _carded(folder, overwrite, model_card(policy, condition, "lora", report, licence)) as temporary:
        config.save_pretrained(str(temporary))
        atomic_write(temporary / "adapter_model.safetensors", save(tensors, {"format": "pt"}))
    return Path(folder)


@contextlib.contextmanager
def _carded(folder: str | Path, overwrite: bool, card: str) -> Iterator[Path]:
    """A folder that appears whole, with its model card, or not at all."""
    with atomic_folder(folder, overwrite) as temporary:
        yield temporary
        atomic_write(temporary / "README.md", card)


@torch.no_grad()
def lora(policy: Policy, condition: Condition | None) -> tuple[Any, dict[str, Tensor]]:
    """(peft's LoraConfig, tensors in peft's naming) of `export_lora`; raises as it does."""
    from peft import LoraConfig

    if not policy.steering.reference_inside:
        raise ModelError(
            "this policy's own weights were trained (a prompt-steered or fully trained model), which no LoRA adapter "
            "holds; export it as a whole model (format merged)"
        )
    coefficients = policy.coefficients([policy.check(condition)])[0]
    factors = {}
    for name, layer in plural_layers(policy.model).items():
        pair = _factors(name, layer, coefficients)
        if pair is not None:
            factors[name] = pair
    if not factors:
        raise ModelError(f"under {condition or 'no condition'} this policy is its base: there is no adapter to export")
    ranks = {name: down.shape[0] for name, (down, _) in factors.items()}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=policy.lineage.get("base"),
        inference_mode=True,
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),
        rank_pattern=ranks,
        alpha_pattern=ranks,
        target_modules=sorted(factors),
        fan_in_fan_out=any(not isinstance(policy.model.get_submodule(name).base, nn.Linear) for name in factors),
    )
    tensors = {}
    for name, (down, up) in factors.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = down.float().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = up.float().cpu().contiguous()
    return config, tensors


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
        used = shares.nonzero()[:, 0]
        downs.append(deltas.down[used].flatten(0, 1))
        ups.append((deltas.up * (shares * deltas.scale)[:, None, None])[used].transpose(0, 1).flatten(1))
    return (torch.cat(downs), torch.cat(ups, dim=1)) if downs else None


def _check_low_rank(name: str, deltas: Deltas) -> None:
    if deltas.rank is None:
        raise ModelError(
            f"the change of {name} has full rank, which LoRA cannot hold; export a whole model (format merged), or "
            "train with a number as rank"
        )
