"""HelpSteer, HelpSteer2 and its preferences, by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow
import pytest
from hub_rows import HELPSTEER, PREFERENCE, Row, lay, steered
from pyarrow import parquet

from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.dataset import Tally
from pluralign.data.readers import registry
from pluralign.data.record import Comparison, Message, Rater, Rating, Record, Response, user
from pluralign.errors import DataError


def marks(*given: float) -> dict[str, float]:
    return dict(zip(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), given, strict=True))


RECORD = Record(
    user("c#"),
    (Response("A language.", marks(3, 4, 4, 2, 1)), Response("A note.", marks(1, 0, 4, 1, 0))),
    id="helpsteer2-1",
    source="nvidia/HelpSteer2",
)


def as_csv(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def as_parquet(path: Path, rows: list[Row]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_the_replies_to_a_prompt_are_one_record(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", *HELPSTEER))
    assert list(dataset) == [RECORD] and dataset.reader == "helpsteer2" and dataset.licence == "CC BY 4.0"
    assert [(one.low, one.high) for one in dataset.objectives] == [(0, 4)] * 5
    weights = [[1.0, 0, 0, 0, 0]]
    assert trade_off(RECORD, dataset.objectives, weights) is not None  # two replies to compare
    assert dataset.count().kept == 2  # rows, not records


def test_tables_with_and_without_types(tmp_path: Path) -> None:
    assert list(registry.read(as_parquet(tmp_path / "r.parquet", HELPSTEER))) == [RECORD]
    (record,) = registry.read(as_csv(tmp_path / "r.csv", HELPSTEER))
    assert (record.responses, record.id) == (RECORD.responses, "helpsteer2-2")  # the header is line 1


def test_rows_of_a_prompt_may_stand_apart(tmp_path: Path) -> None:
    other = steered("d", "x", 1, 1, 1, 1, 1)
    for name in ("r.jsonl", "r.parquet"):
        path, rows = tmp_path / name, [HELPSTEER[0], other, HELPSTEER[1]]
        dataset = registry.read(lay(path, *rows) if name == "r.jsonl" else as_parquet(path, rows))
        tally = Tally()
        assert [record.messages for record in dataset.records(tally)] == [user("d"), user("c#")]
        assert list(dataset)[1] == RECORD and (tally.read, tally.kept) == (3, 3)


def test_later_turns_abstentions_and_what_else_there_is(tmp_path: Path) -> None:
    turns = "hi\n\n<extra_id_1>Assistant\nyes?\n<extra_id_1>User\nbye"
    row = steered(turns, "so", "N/A", 0, None, 4, "3") | {"split": "train", "note": None}
    (record,) = registry.read(lay(tmp_path / "r.jsonl", row))
    assert record.messages == (*user("hi"), Message("assistant", "yes?"), *user("bye"))
    assert record.responses[0].scores == {"helpfulness": None, "correctness": 0, "complexity": 4, "verbosity": 3}
    assert record.responses[0].extra == {"split": "train"}


def test_ratings_of_single_annotators(tmp_path: Path) -> None:
    row = steered("q", "a", [4, 3], [0, None], [1, 1], [2, 2], ["N/A", 0])
    (record,) = registry.read(lay(tmp_path / "r.jsonl", row))
    assert record.responses[0].ratings == (
        Rating(marks(4, 0, 1, 2, 0) | {"verbosity": None}, Rater()),
        Rating({"helpfulness": 3, "coherence": 1, "complexity": 2, "verbosity": 0}, Rater()),
    )
    with pytest.raises(DataError, match="equally many"):
        list(registry.read(lay(tmp_path / "r.jsonl", steered("q", "a", [4, 3], [0], [1, 1], [2, 2], [0, 0]))))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"helpfulness": 5}, r"helpfulness must be in the objective's range \[0, 4\], got 5"),
        ({"helpfulness": True}, "helpfulness must be a finite number, got True"),
        ({"helpfulness": "many"}, "helpfulness must be a finite number or"),
        ({"response": None}, "response must be a text"),
        ({"prompt": 3}, "prompt must be a text"),
        ({"prompt": "a\n<extra_id_1>Assistant\nb"}, "last turn is the assistant's"),
    ],
)
def test_a_bad_row_is_rejected_alone(tmp_path: Path, change: Row, says: str) -> None:
    path = lay(tmp_path / "r.jsonl", HELPSTEER[0], HELPSTEER[0] | change, HELPSTEER[1])
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(path))
    dataset, tally = registry.read(path, on_error="skip"), Tally()
    assert list(dataset.records(tally)) == [RECORD]
    assert (tally.read, tally.kept, tally.rejected) == (3, 2, 1)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    for reader, row in (
        ("helpsteer", HELPSTEER[0]),
        ("helpsteer2", HELPSTEER[0]),
        ("helpsteer2_preference", PREFERENCE),
    ):
        found = {key: value for key, value in row.items() if key not in ("coherence", "response_2")}
        with pytest.raises(DataError, match=r":1: expected the columns prompt, respon.*; found (split, )?prompt"):
            list(registry.read(lay(tmp_path / "r.jsonl", found), reader))


def test_helpsteer_is_named_by_hand(tmp_path: Path) -> None:
    """A row does not tell it from HelpSteer2; the hub's name does, or the user."""
    dataset = registry.read(lay(tmp_path / "r.jsonl", *HELPSTEER), "helpsteer")
    (record,) = dataset
    assert (record.responses, record.id, record.source) == (RECORD.responses, "helpsteer-1", "nvidia/HelpSteer")
    assert registry.recognise("nvidia/HelpSteer@validation") == "helpsteer"  # nothing is fetched


def test_a_preference(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", PREFERENCE))
    (record,) = dataset
    reason = "@Response 2 is better.\n\nIt says why."
    assert record.comparisons == (Comparison(0, 1, "second", None, 2.0, None, reason),)
    assert [reply.text for reply in record.responses] == ["So.", "Because."] and record.messages == user("Why?")
    kept = PREFERENCE["three_most_similar_preferences"]
    assert record.extra == {"split": "train", "three_most_similar_preferences": kept}
    assert dataset.objectives == () and dataset.reader == "helpsteer2_preference"


@pytest.mark.parametrize(
    ("strength", "outcome", "size"),
    [(-3, "first", 3), ("-1", "first", 1), (0, "tie", None), (3.0, "second", 3), (-100, "abstain", None), ("N/A", "abstain", None)],
)  # fmt: skip
def test_the_sign_of_a_preference(tmp_path: Path, strength: object, outcome: str, size: float | None) -> None:
    row = {key: value for key, value in PREFERENCE.items() if key != "preference_elaboration"}
    (record,) = registry.read(lay(tmp_path / "r.jsonl", row | {"preference_strength": strength}))
    (judged,) = record.comparisons
    assert (judged.outcome, judged.strength, judged.reason) == (outcome, size, "@Response 2 is better.")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"preference_strength": -4}, "from -3 to 3, or -100 for neither, got -4"),
        ({"preference_strength": False}, "a finite number"),
        ({"preference_statement": 1}, "preference_statement must be a text"),
    ],
)
def test_bad_preferences(tmp_path: Path, change: Row, says: str) -> None:
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(lay(tmp_path / "r.jsonl", PREFERENCE, PREFERENCE | change)))
