"""Tables that no reader knows, by a map of their columns."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pluralign.data.dataset import Dataset
from pluralign.data.objective import Objective
from pluralign.data.readers import registry
from pluralign.data.record import Comment, Comparison, Message, Rater, Rating, Record, user
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import ConfigError, DataError


def mapped(folder: Path, columns: str, *rows: dict[str, Any]) -> tuple[Dataset, list[Record]]:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = registry.read(path, mapping=columns)
    return dataset, list(dataset)


def test_ratings_of_one_answer(tmp_path: Path) -> None:
    """As in the issue: `--map prompt=question,response=answer,helpful=stars`, on a table without types."""
    path = tmp_path / "t.csv"
    path.write_text("question,answer,stars,harm,site\nq,a,4,N/A,here\nq,b,2,1,\nq,c,,0,here\n")
    dataset = registry.read(path, mapping="prompt=question, response=answer, helpful=stars, harmful[0:1:lower]=harm")
    assert dataset.objectives == (
        Objective("helpful", low=2, high=4),
        Objective("harmful", low=0, high=1, direction="lower"),
    )
    first, second, third = dataset
    assert first.messages == user("q") and first.responses[0].text == "a" and first.extra == {"site": "here"}
    assert first.responses[0].scores == {"helpful": 4, "harmful": None}  # asked, and declined to say
    assert second.responses[0].scores == {"helpful": 2, "harmful": 1} and second.extra == {}
    assert third.responses[0].scores == {"harmful": 0}  # nobody was asked
    assert (first.id, dataset.reader) == ("line-2", "mapping")


def test_everything_about_one_answer(tmp_path: Path) -> None:
    row = {
        "q": "q", "sys": "s", "a": "a", "who": 7, "team": "nurses", "how old": 30, "lang": "en", "bot": "m", "say": "fine",
        "ok": True, "n": 5, "stars": 1.5,
    }  # fmt: skip
    columns = (
        "prompt=q,system=sys,response=a,rater=who,group=team,demographics.age=how old,language=lang,model=bot,"
        "comment=say,thumb=ok,id=n,good[0:2]=stars"
    )
    _, (record,) = mapped(tmp_path, columns, row)
    rater = Rater("7", "nurses", None, {"age": "30"})
    (reply,) = record.responses
    assert record.messages == (Message("system", "s"), Message("user", "q"))
    assert reply.ratings == (Rating({"good": 1.5}, rater),) and reply.scores == {}
    assert reply.comments == (Comment("fine", rater=rater),)
    assert (reply.model, reply.thumb, record.id, record.language, record.extra) == ("m", "up", "5", "en", {})


def test_a_rater_table_by_a_map(tmp_path: Path) -> None:
    rows = [{"worker": name, "words": "x", "rude": score, "age": "9"} for name, score in [("a", 0), ("b", 3)]]
    columns = "response=words,rater=worker,demographics.age=age,rude[lower]=rude"
    dataset, records = mapped(tmp_path, columns, *rows)
    assert dataset.objectives == (Objective("rude", low=0, high=3, direction="lower"),)
    assert records[0].messages == user("")
    assert [one.responses[0].ratings[0].rater for one in records] == [
        Rater("a", demographics={"age": "9"}),
        Rater("b", demographics={"age": "9"}),
    ]


def test_a_rater_without_a_word_is_kept(tmp_path: Path) -> None:
    _, (record,) = mapped(tmp_path, "prompt=p,response=r,rater=w,thumb=t", {"p": "p", "r": "r", "w": "a", "t": "down"})
    assert record.responses[0].thumb == "down" and record.extra == {"rater": {"id": "a"}}


def test_chosen_and_rejected(tmp_path: Path) -> None:
    row = {
        "p": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"role": "user", "content": "b"}],
        "yes": [{"role": "assistant", "content": "c"}], "no": "d", "score": {"yes": 3, "no": 1, "by": "x"},
    }  # fmt: skip
    columns = "prompt=p,chosen=yes,rejected=no,kind[0:4]=score.yes,kind=score.no"
    _, (record,) = mapped(tmp_path, columns, row)
    assert record.messages == (*user("q"), Message("assistant", "a"), *user("b"))
    assert [(one.text, one.scores) for one in record.responses] == [("c", {"kind": 3}), ("d", {"kind": 1})]
    assert record.comparisons == (Comparison(0, 1, "first"),) and record.extra == {"score": {"by": "x"}}


def test_lists_of_answers(tmp_path: Path) -> None:
    answers = [
        {"text": "a", "rated": {"help": "5"}, "model": "x", "cost": 2},
        {"text": "b", "rated": {"help": "N/A"}, "model": "y"},
        {"text": "c", "rated": None, "model": None},
    ]
    columns = "prompt=p,responses=answers.text,help[1:5]=answers.rated.help,model=answers.model"
    _, (record,) = mapped(tmp_path, columns, {"p": "p", "answers": answers})
    assert [(one.text, one.scores, one.model) for one in record.responses] == [
        ("a", {"help": 5}, "x"),
        ("b", {"help": None}, "y"),
        ("c", {}, None),
    ]
    assert record.extra == {"answers": [{"cost": 2}, None, None]}
    _, (record,) = mapped(tmp_path, "prompt=p,response=answers.1.text", {"p": "p", "answers": answers[:2]})
    assert [one.text for one in record.responses] == ["b"]


@pytest.mark.parametrize(
    ("target", "labels", "outcomes"),
    [
        ("pairwise", [0, 1, None], ["first", "second", None]),
        ("pairwise", ["1", "2", "tie"], ["first", "second", "tie"]),
        ("pairwise", ["A", " b", "Both_bad"], ["first", "second", "tie"]),
        ("pairwise", ["model_b", "model_b", "N/A"], ["second", "second", "abstain"]),
        ("pairwise", ["x", "y", "x"], ["first", "second", "first"]),  # the columns of the replies themselves
        ("pairwise[1:2:0]", [1, 2, 0], ["first", "second", "tie"]),
        ("pairwise[true:false]", [True, False, True], ["first", "second", "first"]),
        ("pairwise.kind[L:R]", ["L", "R", "same"], ["first", "second", "tie"]),
    ],
)
def test_labels_of_pairs(tmp_path: Path, target: str, labels: list[Any], outcomes: list[str | None]) -> None:
    rows = [{"p": "p", "x": "a", "y": "b", "label": label} for label in labels]
    dataset, records = mapped(tmp_path, f"prompt=p,response=x,response=y,{target}=label", *rows)
    said = [record.comparisons[0].outcome if record.comparisons else None for record in records]
    assert said == outcomes
    named = ["kind"] if "kind" in target else []
    assert [one.name for one in dataset.objectives] == named
    assert {one.objective for record in records for one in record.comparisons} == {named[0] if named else None}


@pytest.mark.parametrize("labels", [[1, 1], [True, False], ["x", "response_1"], [0, 1, 2], ["good", "bad"]])
def test_labels_that_may_mean_either(tmp_path: Path, labels: list[Any]) -> None:
    rows = [{"p": "p", "l": "a", "r": "b", "label": label} for label in labels]
    with pytest.raises(
        DataError, match=r"column label: the words .* do not tell which side .*\[FIRST:SECOND:NEITHER\]"
    ):
        mapped(tmp_path, "prompt=p,response=l,response=r,pairwise=label", *rows)


@pytest.mark.parametrize(
    ("target", "cells", "thumbs"),
    [
        ("thumb", [1, 0, None], ["up", "down", None]),
        ("thumb", ["👍", "👎", "N/A"], ["up", "down", None]),
        ("thumb", [True, False, False], ["up", "down", "down"]),
        ("thumb[1:-1:0]", [1, -1, 0], ["up", "down", None]),
    ],
)
def test_thumbs(tmp_path: Path, target: str, cells: list[Any], thumbs: list[str | None]) -> None:
    rows = [{"p": "p", "r": "r", "t": cell} for cell in cells]
    _, records = mapped(tmp_path, f"prompt=p,response=r,{target}=t", *rows)
    assert [record.responses[0].thumb for record in records] == thumbs
    kept = [cell for cell, thumb in zip(cells, thumbs, strict=True) if thumb is None and cell is not None]
    assert [record.extra["t"] for record in records if record.extra] == kept  # nothing is dropped


def test_thumbs_with_three_meanings_need_their_code(tmp_path: Path) -> None:
    rows = [{"p": "p", "r": "r", "t": cell} for cell in (1, 0, -1)]
    with pytest.raises(DataError, match=r"column t: the words -1, 0, 1 do not tell"):
        mapped(tmp_path, "prompt=p,response=r,thumb=t", *rows)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("prompt", "cannot be read from 'prompt' on; write TARGET=COLUMN"),
        ("", "neither a prompt nor a reply"),
        ("prompt=q,prompt=r", "prompt more than once"),
        ("prompt=q,helpful=stars", "helpful, which are about a reply, and no reply"),
        ("prompt=q,response=a,responses=b", "takes replies from"),
        ("prompt=q,chosen=a", "takes replies from"),
        ("chosen=a,rejected=b", "without a prompt; for whole dialogues use --reader trl"),
        ("prompt=q,response=a,response=b,help=c", "names help 1 times for 2 replies"),
        ("prompt=q,response=a,pairwise=c", "compares two replies, and 1 are mapped"),
        ("prompt[1:2]=q", "prompt takes nothing in brackets"),
        ("prompt=q,response=a,help.much=c", "'help.much' is no target"),
        ("prompt=q,response=a,help[5:1]=c", "needs finite low < high"),
        ("prompt=q,response=a,help[5]=c", r"must be help\[LOW:HIGH\]"),
        ("prompt=q,response=a,response=b,pairwise[1:1]=c", "two or three different words"),
    ],
)
def test_maps_that_are_no_maps(tmp_path: Path, columns: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        mapped(tmp_path, columns, {"q": "q", "a": "a", "b": "b", "c": 1})


def test_maps_and_readers_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave out --map or --reader trl"):
        registry.read(tmp_path, "trl", mapping="prompt=q")
    with pytest.raises(ConfigError, match="needs to know the columns: --map"):
        registry.read(tmp_path, "mapping")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("prompt=question,response=a", "no column question; found the columns q, a, c, deep"),
        ("prompt=q,response=deep.y", "no column deep.y; found"),
        ("prompt=q,response=a,kind[0:4]=c", r"t.jsonl:1: .*range \[0, 4\], got 5"),
        ("prompt=q,response=a,kind=deep", "kind must be a finite number"),
        ("prompt=q,responses=a", "responses must be a list"),
        ("prompt=q,responses=deep.list,kind[0:4]=c", r"column c \(kind\) must be a list with one item for each of 2"),
        ("prompt=c,response=a", "prompt must be a text"),
        ("prompt=q,response=c", "response 1 must be a text"),
    ],
)
def test_columns_that_do_not_fit(tmp_path: Path, columns: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mapped(tmp_path, columns, {"q": "q", "a": "a", "c": 5, "deep": {"x": 1, "list": ["m", "n"]}})


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"q": "q", "a": "a", "s": 2}\n{"q": "q"}\nnot JSON\n{"q": "q", "a": "b", "s": true}\n')
    dataset = registry.read(path, on_error="skip", mapping='prompt=q,response="a",kind=s')
    tally = dataset.count()
    assert (tally.read, tally.kept, tally.rejected) == (4, 1, 3)
    assert f"{path}:2: expected the column a (response); found q" in tally.examples


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
    "N/A",
    [],
    {},
    [[]],
    [None],
    {"role": "user"},
    ["x", 1],
    [{"t": 1}],
]
TABLES = [
    (
        "prompt=p,system=s,response=r,response=r2,kind[0:4]=k.a,kind=k.b,model=m,model=m,thumb=t,thumb=t2,comment=c,comment=c,"
        "rater=w,group=g,demographics.age=d.age,language=l,id=i,pairwise.kind[1:2]=label",
        {"p": "p", "s": "s", "r": "r", "r2": "b", "k": {"a": 1, "b": "2"}, "m": "m", "t": 1, "t2": 0, "c": "c", "w": "w",
         "g": "g", "d": {"age": 9}, "l": "en", "i": 4, "label": 1},
    ),
    (
        "prompt=p,responses=a.t,kind[0:4]=a.k,model=a.m,comment=a.c,thumb=a.u",
        {"p": [{"role": "user", "content": "q"}], "a": [{"t": "x", "k": 1, "m": "m", "c": "c", "u": True},
                                                         {"t": "y", "k": None, "m": None, "c": ["c", "d"], "u": None}]},
    ),
    ("prompt=p,chosen=c,rejected=r,kind[0:4]=k,kind=k2", {"p": "p", "c": "c", "r": [{"role": "assistant", "content": "r"}],
                                                         "k": 3, "k2": 1}),
]  # fmt: skip


def _spoiled(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    row = copy.deepcopy(row)
    for _ in range(rng.randint(1, 2)):
        holder: Any = row
        while True:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[key], dict | list) or not holder[key] or rng.random() < 0.5:
                break
            holder = holder[key]
        holder[key] = copy.deepcopy(rng.choice(JUNK))
    return row


@pytest.mark.parametrize(("columns", "row"), TABLES)
def test_spoiled_tables_give_records_or_errors(tmp_path: Path, columns: str, row: dict[str, Any]) -> None:
    rng, path = random.Random(len(columns)), tmp_path / "t.jsonl"
    rows = [row, *(_spoiled(row, rng) for _ in range(200))]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    try:
        dataset = registry.read(path, on_error="skip", mapping=columns)
    except DataError as error:  # a column of thumbs in which junk stands has no code
        assert "do not tell which side is meant" in str(error)
        dataset = registry.read(path, on_error="skip", mapping=columns.replace("thumb=", "thumb[1:0]="))
    tally = dataset.count()
    assert tally.read == 201 == tally.kept + tally.rejected and tally.kept and tally.rejected
    for record in dataset:
        assert from_json(json.loads(json.dumps(to_json(record))), dataset.objectives) == record
