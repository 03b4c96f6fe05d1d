"""Rebuild the two base models that the package ships: `python -m pluralign.lab.build` (about four minutes).

One thread and fixed seeds: the same machine makes the same weights. Each folder is an ordinary Hugging Face
checkpoint plus `lab.json`, which says how the model was made and what its samples look like on held-out prompts.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pluralign.lab.base import BaseTraining, train
from pluralign.lab.likelihood import measure, reply_logprobs
from pluralign.lab.nano import draw_text, texts
from pluralign.lab.prompt_set import prompts, topic_of
from pluralign.lab.shipped import MODELS, NAMES
from pluralign.lab.tokenizer import build_tokenizer
from pluralign.storage import atomic_folder, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("pluralign")
_REPORT_EVERY = 100


def training(name: str) -> BaseTraining:
    """How the model called `name` is made."""
    if name == "nano":
        return BaseTraining(hidden_size=64, intermediate_size=128, draw=draw_text)
    return BaseTraining()


def build(name: str, folder: Path) -> dict[str, Any]:
    """Train one model and write it to `folder`, replacing what is there; returns the content of its lab.json."""
    torch.set_num_threads(1)
    settings = training(name)
    started = time.process_time()
    model = train(settings, _reporter(name, settings.num_steps))
    seconds = time.process_time() - started
    facts = {"format_version": 1, "name": name, "training": _plain(settings), "training_cpu_seconds": round(seconds, 1)}
    facts |= {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    facts |= _facts(name, model)
    with atomic_folder(folder, overwrite=True) as target:
        model.save_pretrained(target)
        build_tokenizer().save_pretrained(target)
        write_json(target / "lab.json", facts)
    return facts


def _plain(settings: BaseTraining) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "draw"}


def _reporter(name: str, num_steps: int) -> Any:
    def report(step: int, loss: float) -> None:
        if step % _REPORT_EVERY == 0 or step == num_steps - 1:
            log.info("%s: step %d of %d, loss %.4f", name, step + 1, num_steps, loss)

    return report


def _facts(name: str, model: PreTrainedModel) -> dict[str, Any]:
    """What the model's samples look like; for nano also how much probability the 720 replies hold."""
    tokenizer = build_tokenizer()
    found = {split: asdict(measure(model, tokenizer, prompts(split))) for split in ("validation", "test")}
    return {"measured": found} if name != "nano" else {"measured": found, "mass": _nano_mass(model)}


def _nano_mass(model: PreTrainedModel) -> float:
    tokenizer, masses = build_tokenizer(), []
    for prompt in prompts("validation"):
        topic = topic_of(prompt.messages)
        assert topic is not None, "every prompt of the lab names one topic"
        masses.append(np.exp(reply_logprobs(model, tokenizer, prompt.messages, texts(topic))).sum())
    return float(np.mean(masses))


def main(folder: Path = MODELS) -> None:
    """Build both models."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in NAMES:
        facts = build(name, folder / name)
        log.info("%s: %.0f CPU seconds, fluency %.3f on test prompts, written to %s",
                 name, facts["training_cpu_seconds"], facts["measured"]["test"]["fluency"], folder / name)  # fmt: skip


if __name__ == "__main__":
    main()
