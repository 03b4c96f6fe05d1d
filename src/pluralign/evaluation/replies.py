"""Which replies a report shows: the first one drawn, never the best one."""

from __future__ import annotations

from typing import Any

import numpy as np

from pluralign.data.objective import names
from pluralign.evaluation.rows import plain
from pluralign.evaluation.samples import Cell, Samples
from pluralign.evaluation.steerability import one_hot_rows
from pluralign.evaluation.tables import weights_json


def shown_replies(samples: Samples, num_prompts: int = 3) -> list[dict[str, Any]]:
    """For a few prompts spread over the ids, the first reply under each one-hot, the uniform weights and the base.

    Only prompts that all of these cells answered. Scores are as given, in the objectives' units.
    """
    columns = _columns(samples)
    common = set.intersection(*(set(cell.prompts) for _, cell, _ in columns))
    ids = [prompt for prompt in dict.fromkeys(samples.cells[0].prompts) if prompt in common]
    picked = [ids[place] for place in np.unique(np.linspace(0, len(ids) - 1, num_prompts).astype(int))] if ids else []
    return [
        {
            "prompt": samples.prompt_texts.get(prompt, prompt),
            "replies": [_reply(samples, label, cell, asked, prompt) for label, cell, asked in columns],
        }
        for prompt in picked
    ]


def _columns(samples: Samples) -> list[tuple[str, Cell, bool]]:
    """Label, cell, and whether the weights were asked for (the base was asked for nothing)."""
    size = len(samples.objectives)
    asked = [
        (name, samples.cells[row], True)
        for name, row in zip(names(samples.objectives), one_hot_rows(samples.weights), strict=True)
    ]
    uniform = [cell for cell in samples.cells if size > 1 and np.allclose(cell.weights, 1 / size)]
    return [("base", samples.base[0], False), *asked, *(("all equally", cell, True) for cell in uniform[:1])]


def _reply(samples: Samples, label: str, cell: Cell, asked: bool, prompt: str) -> dict[str, Any]:
    place = cell.prompts.index(prompt)
    fluent = cell.fluent[place]
    return {
        "label": label,
        "weights": weights_json(samples, cell) if asked else None,
        "text": cell.texts[place],
        "scores": dict(zip(names(samples.objectives), plain(cell.scores[place]), strict=True)),
        "fluent": bool(fluent) if np.isfinite(fluent) else None,
        "finished": bool(cell.finished[place]),
    }
