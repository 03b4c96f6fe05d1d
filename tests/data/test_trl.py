"""TRL datasets: every format and both kinds there and back, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pluralign.data import jsonl
from pluralign.data.condition import parse
from pluralign.data.dialogue import parse_turns, shared_prompt
from pluralign.data.readers import registry, trl
from pluralign.data.record import Comment, Comparison, Message, Ranking, Record, Response, Span, user
from pluralign.errors import ConfigError, DataError

Row = dict[str, Any]


def msg(role: str, content: Any, **rest: Any) -> Row:
    return {"role": role, "content": content} | rest


SYSTEM, ASK, YES, NO = msg("system", "s"), msg("user", "q"), msg("assistant", "yes"), msg("assistant", "no")
CALL = msg("assistant", None, tool_calls=[{"name": "f"}])
RESULT = msg("tool", "4", name="f")

ROWS: list[tuple[str, bool, Row]] = [
    ("language_modeling", False, {"text": "The sky is blue."}),
    ("language_modeling", True, {"messages": [SYSTEM, ASK, YES]}),
    ("language_modeling", True, {"messages": [ASK, CALL, RESULT, YES], "tools": [{"name": "f"}]}),
    ("language_modeling", True, {"messages": [YES]}),
    ("prompt_only", False, {"prompt": "The sky is"}),
    ("prompt_only", True, {"prompt": [SYSTEM, ASK], "chat_template_kwargs": {"thinking": False}}),
    ("prompt_completion", False, {"prompt": "The sky is", "completion": " blue."}),
    ("prompt_completion", True, {"prompt": [ASK], "completion": [YES]}),
    ("prompt_completion", True, {"prompt": [ASK], "completion": [CALL, RESULT, YES]}),
    ("prompt_completion", True, {"prompt": [], "completion": [YES]}),
    ("preference", False, {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}),
    ("preference", True, {"prompt": [ASK], "chosen": [YES], "rejected": [NO], "id": "x", "margin": 0.5}),
    ("preference", True, {"prompt": [ASK], "chosen": [YES], "rejected": [NO], "margin": -1.0}),
    ("preference", True, {"prompt": [ASK], "chosen": [YES, ASK, YES], "rejected": [YES, ASK, NO]}),
    ("preference", True, {"prompt": [ASK], "chosen": [YES], "rejected": [NO], "objective": "helpful"}),
    ("preference_implicit", False, {"chosen": "The sky is blue.", "rejected": "The sky is green."}),
    ("preference_implicit", False, {"chosen": "Human: q\n\nAssistant: yes", "rejected": "Human: q\n\nAssistant:"}),
    ("preference_implicit", True, {"chosen": [SYSTEM, ASK, YES], "rejected": [SYSTEM, ASK, NO]}),
    ("preference_implicit", True, {"chosen": [ASK, YES], "rejected": [ASK, YES]}),
    ("unpaired_preference", False, {"prompt": "The sky is", "completion": " blue.", "label": True}),
    ("unpaired_preference", True, {"prompt": [ASK], "completion": [NO], "label": False, "id": 7}),
    ("stepwise_supervision", False, {"prompt": "p", "completions": ["one\n2", "two"], "labels": [True, False]}),
    ("stepwise_supervision", True, {"prompt": [SYSTEM, ASK], "completions": ["one"], "labels": [None]}),
]  # fmt: skip


def put(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("name", "conversational", "row"), ROWS, ids=range(len(ROWS)))
def test_there_and_back(tmp_path: Path, name: str, conversational: bool, row: Row) -> None:
    dataset = registry.read(put(tmp_path / "in.jsonl", row, row))
    assert dataset.reader == "trl" and dataset.count().kept == 2
    written = trl.write(tmp_path / "out.jsonl", dataset, name, conversational)
    assert rows_of(tmp_path / "out.jsonl") == [row, row]
    assert written.num_rows == 2 and not written.left_out
    # and through our own record file nothing is lost either
    jsonl.write(tmp_path / "ours.jsonl", dataset, dataset.objectives)
    trl.write(tmp_path / "again.jsonl.gz", registry.read(tmp_path / "ours.jsonl"), name, conversational)
    assert list(registry.read(tmp_path / "again.jsonl.gz")) == list(dataset)


def only(path: Path) -> Record:
    (record,) = registry.read(path, "trl")
    return record


def test_what_the_formats_become(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    assert only(put(path, ROWS[0][2])) == Record(user(""), (Response("The sky is blue."),))
    pair = (Response(" blue."), Response(" green."))
    assert only(put(path, ROWS[10][2])) == Record(user("The sky is"), pair, (Comparison(0, 1, "first"),))
    assert only(put(path, ROWS[15][2])) == Record(user("The sky is"), pair, (Comparison(0, 1, "first"),))
    with_strength = only(put(path, ROWS[11][2]))
    assert with_strength.comparisons == (Comparison(0, 1, "first", None, 0.5),) and with_strength.id == "x"
    assert only(put(path, ROWS[12][2])).extra == {"margin": -1.0}
    assert only(put(path, ROWS[13][2])).messages == (*user("q"), Message("assistant", "yes"), *user("q"))
    assert [reply.thumb for place in (19, 20) for reply in only(put(path, ROWS[place][2])).responses] == ["up", "down"]
    assert only(put(path, ROWS[21][2])).responses == (
        Response("one\n2\ntwo", spans=(Span(0, 5, "step", 1.0), Span(6, 9, "step", 0.0))),
    )
    assert [one.name for one in registry.read(put(path, ROWS[14][2])).objectives] == ["helpful"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "q"}, ":1: no TRL format has these columns: question; expected one of language_modeling: text;"),
        ({"prompt": "q", "chosen": "a"}, "chosen, prompt; expected one of"),
        ({"prompt": "q", "messages": [ASK]}, "messages, prompt; expected"),
        ({"prompt": "q", "completion": [YES]}, "prompt, completion must be all texts"),
        ({"prompt": 3, "completion": 4}, "prompt must be a text or a list of messages"),
        ({"prompt": [ASK], "completion": [ASK]}, "one assistant message"),
        ({"prompt": [ASK], "completion": []}, "one assistant message"),
        ({"prompt": [ASK], "chosen": [YES, ASK, NO], "rejected": [NO]}, "one assistant message"),
        ({"prompt": [ASK, YES]}, "move it out of messages"),
        ({"prompt": ["q"]}, r"prompt\[0\] must be a message with role and content"),
        ({"prompt": [msg("human", "q")]}, "one of system, user, assistant, tool"),
        ({"prompt": [msg("user", None)]}, r"prompt\[0\].content must be a text"),
        ({"prompt": [msg("user", [{"type": "image"}])]}, r"content must be a text"),
        ({"prompt": "q", "completion": "a", "label": 1}, "label must be true or false, got 1"),
        ({"prompt": "q", "completions": ["a"], "labels": []}, "equally many"),
        ({"prompt": "q", "completions": ["a", ""], "labels": [True, True]}, "no step empty"),
        ({"prompt": "q", "completions": "a", "labels": [True]}, "completions must be a list"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": "big"}, "margin must be a finite number"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "objective": "a b"}, "cannot be an objective's name"),
        ({"chosen": "yes", "rejected": "no"}, "no common prompt"),
    ],
)
def test_wrong_rows_say_why(tmp_path: Path, row: Row, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        list(registry.read(put(tmp_path / "in.jsonl", row), "trl"))
    assert caught.value.line == 1


def test_the_first_row_settles_the_format(tmp_path: Path) -> None:
    path = put(tmp_path / "in.jsonl", {"prompt": "q"}, {"prompt": "q", "completion": "a"}, {"prompt": [ASK]})
    with pytest.raises(DataError, match=r":2: the file began with format prompt_only \(columns prompt\), this row has"):
        list(registry.read(path))
    assert str(registry.read(path, on_error="skip").count()).startswith("3 rows: 2 kept, 1 rejected")


def test_foreign_columns_are_kept_when_the_reader_is_named(tmp_path: Path) -> None:
    row = {"prompt": "q", "response": "a", "helpfulness": 4}
    path = put(tmp_path / "in.jsonl", row)
    with pytest.raises(DataError, match="no reader knows the format; found the columns prompt, response, helpfulness"):
        registry.read(path)
    assert only(path) == Record(user("q"), extra={"response": "a", "helpfulness": 4})
    trl.write(tmp_path / "out.jsonl", registry.read(path, "trl"), "prompt_only", conversational=False)
    assert rows_of(tmp_path / "out.jsonl") == [row]


def test_writing_a_rich_record_counts_what_does_not_fit(tmp_path: Path) -> None:
    replies = (
        Response("a", {"helpful": 1.0}, comments=(Comment("c"),), condition=parse("helpful=1"), extra={"k": 1}),
        Response("b", thumb="up", spans=(Span(0, 1, "typo"),)),
    )
    comparisons = (Comparison(0, 1, "second", "helpful", 2.0), Comparison(0, 1, "tie"), Comparison(0, 1, "abstain"))
    record = Record(user("q"), replies, comparisons, (Ranking(((0,), (1,))),), "x", extra={"label": 1, "more": 2})
    written = trl.write(tmp_path / "out.jsonl", [record], "preference", conversational=False)
    assert rows_of(tmp_path / "out.jsonl") == [
        {"prompt": "q", "chosen": "b", "rejected": "a", "objective": "helpful", "margin": 2.0, "more": 2, "id": "x"}
    ]
    assert written.left_out == {
        "score": 1, "comment": 1, "condition": 1, "thumb": 1, "span": 1, "extra of a response": 1, "ranking": 1,
        "extra column label": 1, "comparison with outcome tie": 1, "comparison with outcome abstain": 1,
    }  # fmt: skip
    written = trl.write(tmp_path / "out.jsonl", [record, Record(user("q"))], "unpaired_preference")
    assert written.num_rows == 1 and written.left_out["record without anything for unpaired_preference"] == 1
    assert written.left_out["comparison"] == 3
    assert trl.write(tmp_path / "out.jsonl", [record], "prompt_only").left_out["reply"] == 2


def test_writing_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with pytest.raises(ConfigError, match="unknown TRL format 'dpo'; allowed are language_modeling, prompt_only"):
        trl.write(path, [], "dpo")
    with pytest.raises(DataError, match="none of 1 records holds anything to write as preference"):
        trl.write(path, [Record(user("q"))], "preference")
    two_turns = Record((Message("system", "s"), *user("q")), (Response("a"),))
    with pytest.raises(DataError, match=r"record 1 cannot be written as prompt_completion: .*conversational=True"):
        trl.write(path, [two_turns], "prompt_completion", conversational=False)
    assert not path.exists()


def test_dialogues_in_one_text() -> None:
    turns = parse_turns("\n\nHuman: a: b\n\nHuman: c\n\nAssistant:  d\n\ne \n\nHuman: f\n\nAssistant:")
    assert turns == (Message("user", "a: b\n\nc"), Message("assistant", "d\n\ne"), Message("user", "f"))
    for text in ("", "hello", "hello\n\nHuman: x"):
        with pytest.raises(DataError, match="must begin with"):
            parse_turns(text)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("The sky is blue.", "The sky is black.", "The sky is"),
        ("The sky is", "The sky is black.", "The sky"),
        ("Human: q\n\nAssistant: I do", "Human: q\n\nAssistant: I do not", "Human: q\n\nAssistant:"),
        ("Q one\n\nyes", "Q one\n\nno", "Q one\n"),
    ],
)
def test_shared_prompts(chosen: str, rejected: str, prompt: str) -> None:
    assert shared_prompt(chosen, rejected) == prompt == shared_prompt(rejected, chosen)
