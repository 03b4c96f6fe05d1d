"""The law of all readers: whatever stands in a file, each row is in a sound record or rejected, and the counts add up."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hub_rows import FORMATS, HELPSTEER
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_rows import SAMPLES, write

from pluralign.data.check import check
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.readers import registry
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import DataError

Row = dict[str, Any]
PREFERENCE: Row = {"prompt": "q", "chosen": "a", "rejected": "b"}
DIALOGUE = {"prompt": "Human: q\n\nAssistant:", "chosen": "a", "rejected": "b"}
OTHERS: list[tuple[str, list[Row]]] = [
    ("helpsteer", HELPSTEER),
    ("hh_pairs", [DIALOGUE | {"objective": "helpful"}]),
    ("trl", [PREFERENCE | {"objective": "kind", "margin": 2}]),
    ("trl", [{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}], "label": True}]),
    ("jsonl", [{"messages": [{"role": "user", "content": "q"}], "responses": [{"text": "a", "scores": {"kind": 1, "brief": None}}]}]),
    ("mapping", [{"prompt": "q", "answer": "a", "stars": "4"}]),
]  # fmt: skip
SEEDS: dict[str, list[list[Row]]] = {}
for _name, _rows in [*FORMATS, *OTHERS, *((name, [row]) for name, row in SAMPLES)]:
    SEEDS.setdefault(_name, []).append(_rows)

letters = st.one_of(st.characters(), st.sampled_from("\ud800\udfff\u202e\u0000🦫א́"))
words = st.one_of(
    st.sampled_from(["", "N/A", "nan", "1e400", "-100", "4", "True", "🦫", "שלום", "a\n\nHuman: b"]),
    st.text(letters, max_size=5),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 6),
    st.sampled_from([10**30, -0.0, 1e308, 2.5, float("nan"), float("inf")]),
    words,
)
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=5
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def spoiled(draw: st.DrawFn, row: Row) -> Row:
    """A good row with one to three places changed, taken out, or added."""
    row = copy.deepcopy(row)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(places(row) or [(row, "more")]))
        action = draw(st.sampled_from(["change", "change", "take", "add"]))
        if action == "take":
            holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
        elif action == "add" and isinstance(holder, dict):
            holder[draw(words)] = draw(junk)
        else:
            holder[key] = draw(junk)
    return row


@st.composite
def files(draw: st.DrawFn, name: str) -> list[str]:
    """The lines of a file: good rows first, then spoiled ones, rows of anything, and lines that are no rows."""
    seeds = draw(st.sampled_from(SEEDS[name]))
    odd = st.one_of(
        st.sampled_from(seeds).flatmap(spoiled),
        st.dictionaries(words, junk, max_size=4),
        junk.map(json.dumps),
        st.sampled_from(["{", "{}", '{"prompt": "a", "prompt": "b"}', "[" * 2000 + "]" * 2000, '"\\ud800"']),
    )
    return [
        one if isinstance(one, str) else json.dumps(one) for one in [*seeds, *draw(st.lists(odd, max_size=5)), *seeds]
    ]


def laid(folder: Path, lines: list[str]) -> Path:
    """The lines as a file, with what some readers look for beside it."""
    return write(folder, *lines)


def opened(path: Path, name: str, on_error: Any) -> Dataset:
    if name == "mapping":
        from pluralign.data.readers import mapping

        return mapping.read(path, on_error, "prompt=prompt,response=answer,stars[1:5]=stars")
    return registry.read(path, name, on_error)


NO_LINES = {"parquet"}  # reads our records from a Parquet file only: no line of JSON is one of its rows


def test_every_reader_is_here() -> None:
    known = set(registry.reader_names()) - NO_LINES
    assert set(SEEDS) == known, "give the new reader a row: FORMATS in hub_rows, or SAMPLES"


@pytest.mark.parametrize("name", sorted(SEEDS))
@given(data=st.data())
@settings(max_examples=8)
def test_each_row_is_kept_or_rejected(name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = data.draw(files(name))
    path = laid(tmp_path_factory.mktemp("fuzz"), lines)
    dataset, tally = opened(path, name, "skip"), Tally()
    for record in dataset.records(tally):
        assert tally.read == tally.kept + tally.rejected
        check(record, dataset.objectives)
        assert from_json(json.loads(json.dumps(to_json(record))), dataset.objectives) == record
    rows = sum(bool(line.strip()) for line in lines)
    assert (tally.read, tally.kept + tally.rejected) == (rows, rows) and tally.kept
    assert all(str(path) in example for example in tally.examples)
    if tally.rejected:
        with pytest.raises(DataError):
            list(opened(path, name, "raise"))


@pytest.mark.parametrize("name", sorted(SEEDS))
@given(data=st.data())
@settings(max_examples=5)
def test_a_first_row_of_anything(name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No reader that is tried on a file of another kind ends with anything but records or a DataError."""
    row = data.draw(
        st.one_of(
            st.dictionaries(words, junk, max_size=4),
            st.sampled_from(SEEDS[name]).flatmap(lambda rows: spoiled(rows[0])),
        )
    )
    path = laid(tmp_path_factory.mktemp("fuzz"), [json.dumps(row)])
    try:
        registry.read(path).count()
        opened(path, name, "skip").count()
    except DataError as error:
        assert str(path) in str(error)
