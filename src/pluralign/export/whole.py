"""A policy at one condition as a plain Hugging Face folder with tokenizer, chat template and model card.

It is read by programs that know nothing of conditions (transformers, vLLM, llama.cpp, ...): the condition is fixed at
export.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pluralign.base_model import save_base
from pluralign.data.condition import Condition
from pluralign.export.check import Exported, check_model
from pluralign.export.gguf_options import GgufKind, check_gguf
from pluralign.model_card import model_card, written_condition
from pluralign.policy import Policy
from pluralign.storage import atomic_folder, atomic_write

log = logging.getLogger("pluralign")


def export(
    policy: Policy,
    folder: str | Path,
    condition: Condition | None,
    *,
    gguf: GgufKind = "none",
    check: bool = True,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the policy at `condition` (None: unsteered) as a plain model with tokenizer, chat template and model card.

    `check` loads what was written and compares its log-probabilities with the policy's. `gguf` writes model.gguf
    beside it. `report` is the content of a report.json, whose numbers go into the card; `licence` is an id such as
    "apache-2.0" for the new weights. A prompt-steered policy is exported unsteered only, and its card says how to
    write a condition into the prompt: no weights hold it. Raises ModelError where one is asked for or the check fails,
    ConditionError, StorageError.
    """
    check_gguf(policy, gguf)
    if written_condition(policy) is not None:
        log.warning(
            "a condition is text for this policy, so none is in the weights; the model card says how to write one"
        )
    with carded(folder, overwrite, model_card(policy, condition, "merged", report, licence)) as temporary:
        differences = write_whole(policy, temporary, condition, gguf, check)
    return Exported(Path(folder), differences)


def write_whole(
    policy: Policy, folder: Path, condition: Condition | None, gguf: GgufKind, check: bool
) -> dict[str, float]:
    """The model's files into a folder that is being written; what the check found."""
    merged = policy.merge(condition)
    save_base(merged, exported_tokenizer(policy), folder)
    if gguf != "none":
        from pluralign.export.gguf_model import write_model

        write_model(policy, dict(merged.state_dict()), folder / "model.gguf", gguf, tied=False)
    return {"model": check_model(policy, condition, folder)} if check else {}


def exported_tokenizer(policy: Policy) -> Any:
    """A copy of the tokenizer whose chat template writes what the policy's encoder writes."""
    tokenizer = copy.deepcopy(policy.encoder.tokenizer)
    tokenizer.chat_template = policy.encoder.chat_template()
    return tokenizer


@contextlib.contextmanager
def carded(folder: str | Path, overwrite: bool, card: str) -> Iterator[Path]:
    """A folder that appears whole, with its model card, or not at all."""
    with atomic_folder(folder, overwrite) as temporary:
        yield temporary
        atomic_write(temporary / "README.md", card)
