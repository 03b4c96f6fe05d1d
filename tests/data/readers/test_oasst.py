"""OpenAssistant's trees, by hand and by law: the same records however the rows stand."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from hub_rows import LABELS, OASST, Row, lay, nested, said
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.readers import registry
from pluralign.data.record import Message, Ranking, Record, user
from pluralign.errors import DataError


def passed(dataset: Dataset) -> tuple[list[Record], Tally]:
    tally = Tally()
    return list(dataset.records(tally)), tally


def test_a_record_for_each_message_of_a_prompter(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", *OASST))
    (first, second), tally = passed(dataset)
    assert (tally.read, tally.kept) == (5, 5)
    assert (first.id, first.messages, first.language) == ("p", user("text p"), "en")
    assert [reply.text for reply in first.responses] == ["text a", "text b"]
    assert first.rankings == (Ranking(((1,), (0,))),)  # b has rank 0, the best
    assert first.responses[0].scores == {"quality": 0.75, "toxicity": 0.0}  # nobody judged spam: missing
    assert first.responses[0].extra["label_counts"] == {"quality": 3, "toxicity": 3}
    assert first.responses[1].scores == {"quality": 1.0} and first.responses[1].extra["other_labels"] == {"wit": 0.5}
    assert first.extra["labels"] == {"quality": 0.75, "toxicity": 0.0}
    assert second.messages == (*user("text p"), Message("assistant", "text b"), *user("text q"))
    (reply,) = second.responses
    assert (reply.model, reply.extra["synthetic"], second.rankings, second.extra["rank"]) == ("gpt", True, (), 0)
    ways = {one.name: (one.direction, one.safety) for one in dataset.objectives}
    assert (ways["quality"], ways["toxicity"], ways["spam"]) == (("higher", False), ("lower", True), ("lower", False))
    assert all((one.low, one.high) == (0, 1) for one in dataset.objectives) and dataset.licence == "Apache-2.0"


def test_all_forms_say_the_same(tmp_path: Path) -> None:
    """Messages as JSON lines and Parquet, trees; a nested message's own columns are the same as a flat one's."""
    expected, _ = passed(registry.read(lay(tmp_path / "r.jsonl", *OASST)))
    trees, tally = passed(registry.read(lay(tmp_path / "t.trees.jsonl", nested(OASST))))
    assert trees == expected and (tally.read, tally.kept) == (1, 1)
    rows = [row | {"labels": LABELS if row["message_id"] in "pa" else None} for row in OASST]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    from_table, _ = passed(registry.read(tmp_path / "r.parquet"))
    assert [record.messages for record in from_table] == [record.messages for record in expected]
    assert from_table[0].responses[0] == expected[0].responses[0]
    assert from_table[0].rankings == expected[0].rankings


def other_tree(row: Row) -> Row:
    names = {key: None if row[key] is None else f"2{row[key]}" for key in ("message_id", "parent_id")}
    return row | names | {"message_tree_id": "t2"}


BOTH = [*OASST, *map(other_tree, OASST)]


@given(order=st.permutations(range(len(BOTH))))
def test_any_order_of_the_rows_gives_the_same_records(
    order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only siblings without a rank stand in the order of the file, and there are none here but by their ids."""
    path = tmp_path_factory.mktemp("order") / "r.jsonl"
    records, tally = passed(registry.read(lay(path, *(BOTH[place] for place in order)), "oasst"))
    assert (tally.read, tally.kept, tally.rejected) == (10, 10, 0)
    assert sorted(record.id for record in records) == ["2p", "2q", "p", "q"]
    for record in records:
        ranked = [
            [record.responses[place].text for place in tier] for ranking in record.rankings for tier in ranking.tiers
        ]
        assert ranked == ([["text b"], ["text a"]] if record.id.endswith("p") else [])
        assert len(record.messages) == (1 if record.id.endswith("p") else 3)


def test_a_tie_of_ranks_a_reply_without_one_and_a_question_nobody_answered(tmp_path: Path) -> None:
    rows = [
        said("p", None, "prompter"),
        said("a", "p", "assistant", 1.0),
        said("b", "p", "assistant", 1),
        said("c", "p", "assistant", None),
        said("d", "p", "assistant", "0"),
        said("q", "c", "prompter"),
    ]
    (first, second), tally = passed(registry.read(lay(tmp_path / "r.jsonl", *rows)))
    assert first.rankings == (Ranking(((3,), (0, 1))),)
    assert second.responses == () and second.messages[-1] == Message("user", "text q")
    assert tally.kept == 6
    (alone,), _ = passed(registry.read(lay(tmp_path / "r.jsonl", rows[0], rows[1])))
    assert alone.rankings == () and alone.responses[0].extra["rank"] == 1  # one rank is no ranking


def test_what_was_deleted_is_kept_apart(tmp_path: Path) -> None:
    rows = [row | {"deleted": row["message_id"] == "b"} for row in OASST]
    (first, second), tally = passed(registry.read(lay(tmp_path / "r.jsonl", *rows)))
    assert [reply.text for reply in first.responses] == ["text a"] and first.rankings == ()
    (gone,) = first.extra["deleted_replies"]
    assert (gone["text"], gone["message_id"], gone["rank"], gone["labels"]) == ("text b", "b", 0, {"quality": 1.0})
    assert second.extra["deleted_turns"] == [1] and tally.kept == 5


LOST = [
    (said("x", "nobody", "assistant"), "does not hang in its tree"),
    (said("x", "x", "assistant"), "does not hang in its tree"),
    (said("x", "p", "prompter"), "does not hang in its tree"),
    (said("x", None, "assistant"), "does not hang in its tree"),
    (said("a", "q", "assistant"), "'a' occurs twice in its tree"),
]


@pytest.mark.parametrize(("row", "says"), LOST)
def test_messages_outside_their_tree(tmp_path: Path, row: Row, says: str) -> None:
    path = lay(tmp_path / "r.jsonl", *OASST, row)
    with pytest.raises(DataError, match=f":6: .*{says}"):
        list(registry.read(path))
    records, tally = passed(registry.read(path, on_error="skip"))
    assert len(records) == 2 and (tally.read, tally.kept, tally.rejected) == (6, 5, 1)


def test_what_hangs_below_a_bad_message_goes_with_it(tmp_path: Path) -> None:
    rows = [row | ({"role": "bot"} if row["message_id"] == "b" else {}) for row in OASST]
    records, tally = passed(registry.read(lay(tmp_path / "r.jsonl", *rows), on_error="skip"))
    assert [record.id for record in records] == ["p"] and (tally.kept, tally.rejected) == (2, 3)
    assert any("one of prompter, assistant, got 'bot'" in example for example in tally.examples)
    whole = lay(tmp_path / "t.jsonl", nested(OASST), nested(rows))
    with pytest.raises(DataError, match=":2: role must be one of"):
        list(registry.read(whole))
    records, tally = passed(registry.read(whole, on_error="skip"))
    assert len(records) == 2 and (tally.kept, tally.rejected) == (1, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rank": -1}, "rank must be a whole number from 0"),
        ({"rank": 0.5}, "rank must be a whole number from 0"),
        ({"deleted": 0}, "deleted must be true or false"),
        ({"labels": {"quality": {"value": 1.5}}}, "labels.quality must be the labellers' mean, from 0 to 1, got 1.5"),
        ({"labels": {"name": ["quality"], "value": [0.5, 1]}}, "as many values and counts as names"),
        ({"labels": [1]}, "labels must be an object"),
        ({"text": None}, "text must be a text"),
        ({"message_tree_id": 3}, "message_tree_id must be a text"),
    ],
)
def test_bad_messages(tmp_path: Path, change: Row, says: str) -> None:
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(lay(tmp_path / "r.jsonl", OASST[0], OASST[1] | change)))
    missing = {key: value for key, value in OASST[1].items() if key != "role"}
    with pytest.raises(
        DataError, match=r":2: expected the columns message_id, .*role.*; found message_id, parent_id, text"
    ):
        list(registry.read(lay(tmp_path / "r.jsonl", OASST[0], missing)))


def test_a_long_conversation(tmp_path: Path) -> None:
    """Depth is no matter: 3,000 messages in a chain, the last record has all before it."""
    roles = ("prompter", "assistant")
    rows = [said(str(place), str(place - 1) if place else None, roles[place % 2]) for place in range(3000)]
    records, tally = passed(registry.read(lay(tmp_path / "r.jsonl", *rows)))
    assert len(records) == 1500 and len(records[-1].messages) == 2999 and tally.kept == 3000
    assert json.loads((tmp_path / "r.jsonl").read_text().splitlines()[-1])["text"] == records[-1].responses[0].text
