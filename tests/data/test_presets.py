"""Presets: what is read back is what was written, and every mistake is told with its file and entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.condition import Bounds, Feedback, Targets, Weights
from pluralign.data.objective import Objective
from pluralign.data.presets import Presets
from pluralign.errors import ConditionError, DataError

OBJECTIVES = [Objective("kind", high=4.0), Objective("brief", high=4.0)]


def write(folder: Path, text: str) -> Path:
    path = folder / "presets.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_both_written_forms_are_read_in_order(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"z.1": "kind=.7,brief=.3 @1.5", "calm": {"weights": {"kind": 1}, "strength": 2},'
        ' "high": "kind:4", "words": {"feedback": "be kind"}, "short": "\\"one: sentence\\""}',
    )
    presets = Presets.read(path, OBJECTIVES)
    assert list(presets.items()) == [
        ("z.1", Weights({"kind": 0.7, "brief": 0.3}, 1.5)),
        ("calm", Weights({"kind": 1.0}, 2.0)),
        ("high", Targets({"kind": 4.0})),
        ("words", Feedback("be kind")),
        ("short", Feedback("one: sentence")),
    ]
    again = Presets.read(write(tmp_path, json.dumps(presets.to_json())), OBJECTIVES)
    assert again == presets


def test_a_name_nobody_gave_is_refused_with_the_known_ones() -> None:
    presets = Presets({"calm": Weights({"kind": 1.0}), "other": Feedback("x")})
    assert presets.named("calm") == Weights({"kind": 1.0})
    for name in ("none", ["calm"], None):
        with pytest.raises(ConditionError, match="allowed are: calm, other"):
            presets.named(name)  # type: ignore[arg-type]
    with pytest.raises(ConditionError, match="no file of presets was given"):
        Presets().named("calm")


MISTAKES = {
    "{": "json:1: not valid JSON",
    '{"a": 1}': "preset 'a': a condition is an object",
    '{"a": {"weights": {"kind": 1}, "targets": {"kind": 1}}}': "preset 'a': a condition has exactly one",
    '{"a": {"weights": {"kind": 1, "kind": 0}}}': "preset 'a': kind given twice",
    '{"a": {"feedback": "x", "feedback": "y"}}': "preset 'a': feedback given twice",
    '{"a": "kind=1", "a": "brief=1"}': "preset 'a' stands twice",
    '{"a": "kind=1", "A": "brief=1"}': "differ in capitals only",
    '{"a": "rude=1"}': "preset 'a': unknown objective 'rude'; allowed are: kind, brief",
    '{"a": "kind=.5"}': "preset 'a': weights must sum to 1",
    '{"a": "kind:9"}': r"outside the objective's range \[0, 4\]",
    '{"a": "kind=1 @-1"}': "preset 'a': strength -1 is negative",
    '{"a": {"weights": {"kind": NaN}}}': "preset 'a': weights: kind must be a finite number",
    '{"a": {"weights": {"kind": true}}}': "must be a finite number",
    '{"../a": "kind=1"}': "cannot be a preset's name",
    '{"": "kind=1"}': "cannot be a preset's name",
    '{"a@kind=1": "kind=1"}': "cannot be a preset's name",
    "{}": "holds no preset",
    "[]": "one object of name -> condition, got list",
    '"kind=1"': "got str",
    '{"a": ' + "9" * 5000 + "}": "not valid JSON",
    "[" * 100_000: "nests too deep",
}


@pytest.mark.parametrize("text", MISTAKES, ids=list(MISTAKES.values()))
def test_a_mistake_names_the_file(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=MISTAKES[text]) as told:
        Presets.read(path, OBJECTIVES)
    assert str(told.value).startswith(str(path)) and told.value.path == path


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Presets.read(tmp_path / "none.json", OBJECTIVES)
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    with pytest.raises(DataError, match="not UTF-8"):
        Presets.read(tmp_path / "latin.json", OBJECTIVES)


def test_bounds_are_the_policys(tmp_path: Path) -> None:
    path = write(tmp_path, '{"strong": "kind=1.5,brief=-.5"}')
    with pytest.raises(DataError, match="outside its bound"):
        Presets.read(path, OBJECTIVES)
    wide = Bounds(allow_extrapolation=True)
    assert Presets.read(path, OBJECTIVES, wide)["strong"] == Weights({"kind": 1.5, "brief": -0.5})


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=6)  # fmt: skip


@given(st.dictionaries(st.text(max_size=6) | st.sampled_from(["a", "b"]), JSON | st.sampled_from(["kind=1", "x"])))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]) -> None:
    path = write(tmp_path_factory.mktemp("any", numbered=True), json.dumps(value))
    try:
        assert Presets.read(path, OBJECTIVES)
    except DataError as error:
        assert str(path) in str(error)
