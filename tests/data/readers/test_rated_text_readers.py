"""SummEval, USR dialogues, rater tables and the released critiques, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reader_rows import CRITIQUE_RELEASE, MARKS, OFFENCE, SUMMEVAL, SUMMEVAL_RELEASE, USR, read, write

from pluralign.data.readers import registry
from pluralign.data.record import Comment, Message, Rater, Rating, user
from pluralign.errors import DataError


def test_summeval_keeps_every_rater(tmp_path: Path) -> None:
    dataset, (flat, released) = read(tmp_path, SUMMEVAL, SUMMEVAL_RELEASE)
    (reply,) = flat.responses
    assert (flat.id, reply.model, flat.messages) == ("cnn-1/M8", "M8", user("A long article."))
    assert reply.scores == {"coherence": 3.0, "consistency": 1.3333, "fluency": 3.0, "relevance": 4.0}
    assert [rating.rater for rating in reply.ratings] == [Rater(group="expert")] * 3 + [Rater(group="crowd")] * 2
    assert reply.ratings[2] == Rating(MARKS | {"coherence": 5}, Rater(group="expert"))
    assert flat.extra == {"references": ["A reference."]} and dataset.licence
    (again,) = released.responses  # without means of its own: (2 + 2 + 5) / 3, (1 + 2 + 1) / 3
    assert again.scores == {"coherence": 3.0, "consistency": 4 / 3, "fluency": 3.0, "relevance": 4.0}
    assert again.ratings[:3] == reply.ratings[:3] and len(again.ratings) == 4
    assert released.extra == {"references": ["A reference."], "filepath": "cnn/1"}


def test_usr_dialogues_are_turns_that_end_with_the_user(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, USR)
    assert record.messages == (
        Message("user", "hi there"),
        Message("assistant", "hello !"),
        Message("user", "do you like jazz ?"),
    )
    assert record.extra == {"fact": "jazz began in new orleans"} and record.responses[0].model == "Argmax Decoding"
    assert record.responses[0].scores == USR["ratings"]
    with pytest.raises(DataError, match=r":1: .*range \[1, 3\], got 4"):
        read(tmp_path, USR | {"ratings": {"naturalness": 4}})
    with pytest.raises(DataError, match="holds no turn"):
        read(tmp_path, USR | {"prompt": " \n"})


def test_a_rater_table_has_texts_without_prompts(tmp_path: Path) -> None:
    dataset, (record,) = read(tmp_path, OFFENCE | {"site": "here"})
    (objective,) = dataset.objectives
    assert (objective.low, objective.high, objective.direction, objective.safety) == (1, 5, "lower", True)
    assert (record.id, record.messages, record.responses[0].text) == ("9", user(""), "you fool")
    rater = Rater(id="2", demographics={"gender": "Woman", "age": ">65"})
    assert record.responses[0].ratings == (Rating({"offensiveness": 4.0}, rater),)
    assert record.extra == {"site": "here"} and "POPQUORN" in str(dataset.source)


def test_a_rater_table_of_another_kind(tmp_path: Path) -> None:
    """From a table without types: the range is found, ratings that were declined stay apart from missing ones."""
    path = tmp_path / "table.csv"
    path.write_text("annotator_id,item_id,text,clear,kind,country\na,1,x,2,N/A,CL\nb,1,x,4,7,\na,2,y,,3,CL\n")
    dataset = registry.read(path)
    assert [(one.name, one.low, one.high) for one in dataset.objectives] == [("clear", 2, 4)]
    assert dataset.source is None and dataset.licence is None
    path.write_text("annotator_id,item_id,text,clear,kind,country\nb,1,x,4,7,\na,1,x,2,N/A,CL\na,2,y,,3,CL\n")
    dataset = registry.read(path)
    assert [(one.name, one.low, one.high) for one in dataset.objectives] == [("clear", 2, 4), ("kind", 3, 7)]
    ratings = [record.responses[0].ratings[0] for record in dataset]
    assert [rating.scores for rating in ratings] == [{"clear": 4, "kind": 7}, {"clear": 2, "kind": None}, {"kind": 3}]
    assert [rating.rater for rating in ratings] == [
        Rater(id="b"),
        Rater(id="a", demographics={"country": "CL"}),
        Rater(id="a", demographics={"country": "CL"}),
    ]


def test_critiques_as_released(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, CRITIQUE_RELEASE)
    (reply,) = record.responses
    assert (record.id, record.messages, reply.text) == ("4", user("p"), "r")
    assert reply.scores == {"justified": 2.0, "relevant": 4.0} and reply.comments == (Comment("It is 5."),)
    assert reply.extra == {"error_types": ["Arithmetic"]} and record.extra == {"reference": "ref"}


@pytest.mark.parametrize(
    ("row", "change", "says"),
    [
        (SUMMEVAL, {"expert_ratings": [{"coherence": 9}]}, r"range \[1, 5\], got 9"),
        (SUMMEVAL, {"crowd_ratings": {}}, "crowd_ratings must be a list"),
        (SUMMEVAL, {"ratings": {"funny": 1}}, "unknown objective 'funny'"),
        (OFFENCE, {"offensiveness": 0}, r"range \[1, 5\], got 0"),
        (OFFENCE, {"offensiveness": True}, "finite number"),
        (OFFENCE, {"user_id": [2]}, "user_id must be an id"),
        (OFFENCE, {"text": None}, "text must be a text"),
        (USR, {"fact": None, "ratings": 3}, "ratings must be an object"),
        (CRITIQUE_RELEASE, {"latestLabel": []}, "latestLabel must be an object"),
    ],
)
def test_bad_rows_say_where(tmp_path: Path, row: dict[str, Any], change: dict[str, Any], says: str) -> None:
    path = write(tmp_path, row, row | change)
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(path))
