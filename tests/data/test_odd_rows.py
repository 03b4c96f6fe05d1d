"""Whatever stands in a row, every reader and the TRL writer give a record or a DataError, and nothing else."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from test_readers import CRITIQUE, HH
from test_trl import ROWS

from pluralign.data.readers import registry, trl
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import DataError

JUNK = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**30,
    "",
    "x",
    "a b",
    [],
    {},
    [[]],
    [None],
    {"role": "user"},
    {"content": 3},
    ["x", 1],
]
OURS = {
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
    "responses": [
        {"text": "abc", "scores": {"a": 1, "b": None}, "spans": [{"start": 0, "end": 2, "label": "x", "score": 1.0}],
         "ratings": [{"scores": {"a": 2}, "rater": {"id": "r", "demographics": {"age": "9"}}}], "thumb": "up",
         "comments": [{"text": "c", "objective": "a"}], "condition": {"weights": {"a": 1.0}, "strength": 2.0}},
        {"text": "d", "finished": False, "model": "m", "extra": {"k": [1]}},
    ],
    "comparisons": [{"first": 0, "second": 1, "outcome": "tie", "objective": "a", "strength": 1.0}],
    "rankings": [{"tiers": [[0], [1]]}],
    "extra": {"trl_notes": {"prompt_turns": 1, "no_prompt": False, "fields": {"0": {"name": "n"}}}},
}  # fmt: skip
CASES = [("trl", row) for _, _, row in ROWS] + [("hh_pairs", HH), ("critiques", CRITIQUE), ("jsonl", OURS)]
FORMATS = ["language_modeling", "prompt_completion", "preference", "preference_implicit", "stepwise_supervision"]


def places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def spoiled(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    row = copy.deepcopy(row)
    for _ in range(rng.randint(1, 2)):
        if found := places(row):
            holder, key = rng.choice(found)
            action = rng.random()
            if action < 0.15:
                del holder[key]
            elif action < 0.3 and isinstance(holder, dict):
                holder[rng.choice(["more", "margin", "objective", "id"])] = rng.choice(JUNK)
            else:
                holder[key] = copy.deepcopy(rng.choice(JUNK))
    return row


@pytest.mark.parametrize("place", range(len(CASES)))
def test_spoiled_rows(tmp_path: Path, place: int) -> None:
    (reader, row), path = CASES[place], tmp_path / "r.jsonl"
    rng = random.Random(place)
    path.write_text("\n".join(json.dumps(one) for one in [row, *(spoiled(row, rng) for _ in range(150))]))
    dataset = registry.read(path, reader, on_error="skip")
    tally = dataset.count()
    assert tally.read == 151 == tally.kept + tally.rejected and tally.kept >= 1 <= tally.rejected
    for record in dataset:
        assert from_json(json.loads(json.dumps(to_json(record)))) == record
        for name in FORMATS:
            for conversational in (True, False):
                try:
                    trl.write(path.with_name("out.jsonl"), [record], name, conversational)
                except DataError as error:
                    assert "cannot be written" in str(error) or "none of 1 records" in str(error)


@pytest.mark.parametrize("reader", ["jsonl", "trl", "hh_pairs", "critiques"])
def test_deep_rows(tmp_path: Path, reader: str) -> None:
    good = next(row for name, row in CASES if name == reader)
    lines = [json.dumps(good)]
    for key in good:
        for depth in (200, 700, 950, 5000):
            deep = json.dumps(good | {key: "@"}).replace('"@"', "[" * depth + "]" * depth)
            lines.append(deep)
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(lines))
    tally = registry.read(path, reader, on_error="skip").count()
    assert tally.read == len(lines) and tally.kept >= 1
