"""UltraFeedback, by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hub_rows import ULTRA, lay
from pyarrow import parquet

from pluralign.data.readers import registry
from pluralign.data.record import Comment, Response, user
from pluralign.errors import DataError

FIRST = Response(
    "4",
    {"helpfulness": 5, "honesty": 4, "instruction_following": 5, "truthfulness": None, "overall_score": 9},
    comments=(
        Comment("does it", "instruction_following"),
        Comment("sure", "honesty"),
        Comment("the type", "helpfulness"),
        Comment("useful", "helpfulness"),
        Comment("Well done."),
    ),
    model="m1",
    extra={
        "annotations": {"truthfulness": {"Type": ["None"]}, "helpfulness": {"Type": ["1"]}},
        "principle": "honesty",
        "custom_system_prompt": "Be honest.",
        "fine-grained_score": 4.75,
    },
)


def test_ratings_that_are_texts_and_reasons_that_are_comments(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", ULTRA))
    (record,) = dataset
    first, second = record.responses
    assert first == FIRST and record.messages == user("Add 2 and 2.")
    # honesty 1 and nothing else: what was not rated is missing, not 0 and not declined
    assert second == Response(
        "5", {"honesty": 1, "overall_score": 1}, comments=(Comment("wrong", "honesty"),), model="m2"
    )
    assert record.extra == {"source": "evol_instruct", "models": ["m1", "m2"], "correct_answers": ["None"]}
    assert [(one.low, one.high) for one in dataset.objectives] == [(1, 5)] * 4 + [(1, 10)]
    assert dataset.licence == "MIT" and dataset.reader == "ultrafeedback"


def test_the_same_from_parquet_where_every_struct_has_every_field(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([ULTRA]), path)
    (record,) = registry.read(path)
    assert record.responses[0] == FIRST
    assert record.responses[1].scores == {"honesty": 1, "overall_score": 1}


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (("annotations", "honesty", "Rating"), "6", r"honesty must be in the objective's range \[1, 5\], got 6"),
        (("annotations", "honesty", "Rating"), "good", r"completions\[0\].honesty must be a finite number or \"N/A\""),
        (("annotations", "honesty", "Rating"), True, "honesty must be a finite number, got True"),
        (("annotations", "honesty"), 4, "honesty must be an object"),
        (("annotations",), "none", "annotations must be an object"),
        (("annotations", "honesty", "Rationale"), 3, "honesty must be a text"),
        (("response",), None, r"completions\[0\].response must be a text"),
        (("overall_score",), 11, r"overall_score must be in the objective's range \[1, 10\]"),
        (("critique",), [], "critique must be a text"),
    ],
)
def test_bad_replies(tmp_path: Path, where: tuple[str, ...], value: Any, says: str) -> None:
    row = copy.deepcopy(ULTRA)
    holder = row["completions"][0]
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(lay(tmp_path / "r.jsonl", ULTRA, row)))


def test_completions_that_are_no_list(tmp_path: Path) -> None:
    for change, says in [
        ({"completions": {}}, "completions must be a list"),
        ({"completions": [3]}, "must be an object"),
    ]:
        with pytest.raises(DataError, match=f":1: .*{says}"):
            list(registry.read(lay(tmp_path / "r.jsonl", ULTRA | change), "ultrafeedback"))
    with pytest.raises(DataError, match="expected the columns instruction, completions; found instruction"):
        list(registry.read(lay(tmp_path / "r.jsonl", {"instruction": "x"}), "ultrafeedback"))
