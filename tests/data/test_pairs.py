"""Trade-off pairs of whole data sets: many records at a time give what one record at a time gives."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_strategies import OBJECTIVES, records
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pluralign.data import pair_rows
from pluralign.data.condition import from_vector
from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.objective import Objective, names
from pluralign.data.pairs import Drawn, groups, one_by_one, pairs
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.errors import ConfigError, DataError

A_B = (Objective("a", low=0, high=4), Objective("b", low=0, high=4, direction="lower"))
FAST = (Phase.explicit, Phase.generate)  # to shrink whole records takes minutes
SCORES = st.integers(0, 3).map(float)


def _plain(rows: list[list[float]], names: tuple[str, ...] = ("a", "b"), id: str = "") -> Record:
    replies = [Response(f"reply {num}", dict(zip(names, row, strict=True))) for num, row in enumerate(rows)]
    return Record(user("question"), tuple(replies), id=id)


@given(
    st.lists(st.lists(st.lists(SCORES, min_size=2, max_size=2), max_size=4), max_size=6),
    st.integers(1, 3),
    st.integers(0, 2**40),
)
@settings(max_examples=30)
def test_many_at_a_time_is_one_at_a_time(scores: list[list[list[float]]], num: int, seed: int) -> None:
    plain = [_plain(rows) for rows in scores]
    drawn = Drawn(seed, num, 2)
    alone = [one_by_one(record, place, A_B, drawn) for place, record in enumerate(plain)]
    assert list(pairs(plain, A_B, num, seed)) == [found for found in alone if found.condition]


@given(st.lists(records(), max_size=2), st.integers(0, 9))
@settings(max_examples=15, phases=FAST)
def test_pairs_are_those_of_the_trade_off_view(found: list[Record], seed: int) -> None:
    for judged in pairs(found, OBJECTIVES, 3, seed):
        group = trade_off(judged.record, OBJECTIVES, judged.weights)
        assert group is not None
        said = {(p.condition, p.chosen, p.rejected, p.margin) for p in group.preferences}
        mine = list(zip(judged.condition, judged.chosen, judged.rejected, judged.margin, strict=True))
        assert set(mine) <= said and len(set(mine)) == len(mine)  # a view's weights also judge pairs with more labels


def test_a_pair_by_hand() -> None:
    (found,) = pairs([_plain([[3, 1], [1, 1]])], A_B, num_weights=2, seed=5)
    for condition, margin in zip(found.condition, found.margin, strict=True):
        assert margin == pytest.approx(2 * found.weights[condition][0])  # only a tells them apart, by 2
    assert set(found.chosen) == {0} and set(found.rejected) == {1}


def test_weights_depend_on_seed_and_place_alone() -> None:
    some = [_plain([[3, 1], [1, 0], [0, 2]], id=str(num)) for num in range(1030)]  # more than a batch and a block
    whole = {found.record.id: found for found in pairs(some, A_B, 2, 7)}
    odd = [dataclasses.replace(record, comparisons=(Comparison(0, 1, "first", "a"),)) for record in some]
    assert {found.record.id: found.weights for found in pairs(odd, A_B, 2, 7)} == {
        number: found.weights for number, found in whole.items()
    }
    assert whole["0"].weights != whole["1"].weights != whole["1024"].weights
    assert next(iter(pairs(some, A_B, 2, 8))).weights != whole["0"].weights


def test_partial_labels_draw_over_what_is_labelled() -> None:
    replies = (Response("x", {"a": 3.0}), Response("y", {"a": 1.0, "b": 0.0}), Response("z", {"a": 0.0, "b": 4.0}))
    (found,) = pairs([Record(user("q"), replies)], A_B, 1, 0)
    by_pair = {
        (chosen, rejected): found.weights[condition]
        for condition, chosen, rejected in zip(found.condition, found.chosen, found.rejected, strict=True)
    }
    assert by_pair[0, 1] == by_pair[0, 2] == [1.0, 0.0]
    assert (1, 2) in by_pair


def test_groups_hold_the_same_pairs() -> None:
    some = [_plain([[3, 1], [1, 0]]), _plain([[1, 1]]), _plain([[0, 0], [4, 0]])]
    made = list(groups(some, A_B, 2, 3))
    assert len(made) == 2
    for group, judged in zip(made, pairs(some, A_B, 2, 3), strict=True):
        assert group.conditions == tuple(from_vector(np.array(row), A_B) for row in judged.weights)
        assert [each.margin for each in group.preferences] == list(judged.margin)


@pytest.mark.parametrize(("num", "seed", "asked"), [(0, 0, A_B), (1, -1, A_B), (1, 0, ())])
def test_numbers_out_of_range(num: int, seed: int, asked: Any) -> None:
    with pytest.raises(ConfigError, match="at least 1 weight"):
        list(pairs([], asked, num, seed))


def test_scores_beyond_numbers_are_refused() -> None:
    wide = (Objective("a", low=-1.7e308, high=1.7e308),)
    with pytest.raises(DataError, match="record 1: its scores differ by more"):
        list(pairs([_plain([[1.6e308], [-1.6e308]], ("a",))], wide))


@pytest.mark.parametrize("talk", [True, False])
@given(some=st.lists(records(), max_size=2))
@settings(max_examples=8, phases=FAST)
def test_lines_and_tables_hold_the_same_rows(tmp_path_factory: pytest.TempPathFactory, talk: bool, some: Any) -> None:
    from pyarrow import parquet

    folder = tmp_path_factory.mktemp("rows")
    odd = _plain([[3, 1], [1, 3]], id='سلام "😀"')
    asked = [record for record in some if talk or (len(record.messages) == 1 and record.messages[0].role == "user")]
    wanted = list(pairs([odd, *asked], (*A_B, *OBJECTIVES), 2, 0))
    num = pair_rows.write(folder / "p.jsonl", wanted, (*A_B, *OBJECTIVES), talk)
    rows = [json.loads(line) for line in (folder / "p.jsonl").read_bytes().splitlines()]
    assert len(rows) == num == pair_rows.write(folder / "p.parquet", wanted, (*A_B, *OBJECTIVES), talk)
    assert parquet.read_table(folder / "p.parquet").to_pylist() == rows
    assert rows[0]["id"] == odd.id and list(rows[0]["weights"]) == list(names((*A_B, *OBJECTIVES)))
    assert rows[0]["chosen"] == ([{"role": "assistant", "content": "reply 0"}] if talk else "reply 0")


@pytest.mark.parametrize("name", ["p.jsonl", "p.parquet"])
def test_no_pair_is_an_error_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no pair of replies can be judged"):
        pair_rows.write(tmp_path / name, pairs([_plain([[1, 1]])], A_B), A_B)
    assert not list(tmp_path.iterdir())
