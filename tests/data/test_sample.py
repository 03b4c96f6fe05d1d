"""Samples of a file: the same for a seed, in its order, uniform, and even over strata."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_up
from pluralign import data_api
from pluralign.cli import main
from pluralign.data import jsonl
from pluralign.data.dataset import Dataset
from pluralign.data.record import Comparison, Rater, Rating, Record, Response, Vote, user
from pluralign.data.sample import choose, sample
from pluralign.errors import ConfigError, DataError

strata = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def dataset(*told: Record) -> Dataset:
    return Dataset((), lambda tally: iter(told))


@given(strata, st.integers(0, 99), st.data())
def test_a_larger_sample_holds_every_smaller_one(told: list[int], seed: int, data: st.DataObject) -> None:
    num = data.draw(st.integers(1, len(told)))
    places = [choose(np.array(told), size, seed).tolist() for size in range(1, num + 1)]
    for smaller, larger in pairwise(places):
        assert set(smaller) < set(larger)
    assert all(found == sorted(set(found)) for found in places)
    assert [len(found) for found in places] == list(range(1, num + 1))


@given(strata, st.integers(0, 99), st.data())
def test_strata_give_evenly(told: list[int], seed: int, data: st.DataObject) -> None:
    """No stratum gives two more than another that still has some left."""
    num = data.draw(st.integers(1, len(told)))
    given, there = Counter(told[place] for place in choose(np.array(told), num, seed)), Counter(told)
    for poor in there:
        if given[poor] < there[poor]:
            assert max(given.values()) <= given[poor] + 1


def test_every_record_has_the_same_chance() -> None:
    """4,000 samples of 3 of 10: each record is in about 1,200 of them (sd 29)."""
    counts = Counter(int(place) for seed in range(4000) for place in choose(np.zeros(10, dtype=int), 3, seed))
    assert sorted(counts) == list(range(10))
    assert all(abs(num - 1200) < 120 for num in counts.values())


def test_what_the_strata_are() -> None:
    """Three of each kind, and one sample of as many as there are kinds has one of each."""
    ann, bob = Rater("ann", "north"), Rater("bob", "south")
    reply = (Response("a"), Response("b"))
    rated = Response("a", ratings=(Rating({"kind": 1.0}, bob),), votes=(Vote("agree", 1, ann),))
    told = [
        Record(user("p"), (rated,), language="en"),
        Record(user("p"), reply, (Comparison(0, 1, "first", "brief", rater=ann),), language="de"),
        Record(user("p"), (Response("a", {"kind": 1.0}),)),
    ]
    for by, kinds in (("objective", 2), ("annotator", 3), ("group", 3), ("language", 3)):
        found = list(sample(dataset(*(told * 3)), kinds, by=by))  # type: ignore[arg-type]
        assert len({told.index(record) if by != "objective" else told.index(record) % 2 for record in found}) == kinds


def test_the_file_keeps_its_order_and_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made_up.write(tmp_path / "all.jsonl", made_up.scored(20))
    out = tmp_path / "few.jsonl.gz"
    assert main(["data", "sample", str(path), str(out), "--num", "7", "--seed", "3"]) == 0
    assert "7 records: " in capsys.readouterr().out
    found, whole = list(jsonl.read(out)), list(jsonl.read(path))
    assert [record for record in whole if record in found] == found
    assert jsonl.read_header(out).objectives == made_up.OBJECTIVES
    first = out.read_bytes()
    data_api.sample(path, out, 7, seed=3)
    assert out.read_bytes() == first
    data_api.sample(path, out, 7, seed=4)
    assert out.read_bytes() != first


def test_rejected_rows_are_told_and_never_drawn(tmp_path: Path) -> None:
    path = made_up.lines(tmp_path / "r.jsonl", made_up.row("a", kind=[1.0]), "{}", made_up.row("b", kind=[2.0]))
    with pytest.raises(DataError, match=r"r\.jsonl:2"):
        data_api.sample(path, tmp_path / "out.jsonl", 2, reader="jsonl")
    value = data_api.sample(path, tmp_path / "out.jsonl", 2, reader="jsonl", on_error="skip")
    assert (value["records"], value["read"], value["kept"]) == (2, 3, 2)
    assert Path(value["rejects"]).read_text().count("\n") == 1


@pytest.mark.parametrize(("num", "words"), [(0, "from 1, got 0"), (6, "only 5 are there")])
def test_impossible_sizes_are_refused(num: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sample(dataset(*[Record(user("p"))] * 5), num)
