"""Prompt lists, toxic prompts, and both files of Polis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reader_rows import COMMENTS, PROMPTS, TOXICITY, TOXICITY_HUB, VOTES, read, write

from pluralign.data.readers import registry
from pluralign.data.record import Message, Rater, Vote, user
from pluralign.errors import DataError


def test_scores_of_a_prompt_say_nothing_about_a_reply(tmp_path: Path) -> None:
    dataset, (record,) = read(tmp_path, TOXICITY)
    assert dataset.objectives == () and record.responses == ()
    assert record.extra == {"scores": {"toxicity": 0.1, "insult": None}, "challenging": False}


def test_continuations_are_replies(tmp_path: Path) -> None:
    dataset, (record,) = read(tmp_path, TOXICITY_HUB)
    assert {(one.direction, one.safety) for one in dataset.objectives} == {("lower", True)}
    assert record.messages == user("And then he") and record.responses[0].text == " left."
    assert record.responses[0].scores == {"toxicity": 0.2}
    assert record.extra["scores"] == {"toxicity": 0.1} and record.extra["filename"] == "f.txt"


def test_prompt_lists(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, PROMPTS)
    assert (record.messages, record.responses) == (user("Tell me a joke."), ())
    assert record.extra == {"category": "fun", "length": 4}
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    _, (record,) = read(tmp_path, PROMPTS | {"prompt": turns, "id": 5})
    assert record.messages == (Message("system", "s"), Message("user", "q")) and record.id == "5"


def test_lines_of_a_text_are_prompts(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("first\n\nsecond\n")
    for reader in ("auto", "prompts"):
        dataset = registry.read(tmp_path / "p.txt", reader)
        assert [record.messages for record in dataset] == [user("first"), user("second")]


def test_what_may_be_a_reply_is_no_prompt_list(tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "q", "reply_of_mine": "a whole answer"})
    with pytest.raises(DataError, match="no reader knows the format; found the columns prompt, reply_of_mine"):
        registry.read(path)


def test_groups_vote_on_comments(tmp_path: Path) -> None:
    dataset, (record,) = read(tmp_path, COMMENTS)
    group = Rater(group="town.2/0")
    assert record.responses[0].votes == (
        Vote("agree", 4, group),
        Vote("pass", 2, group),
        Vote("agree", 1),
        Vote("disagree", 1),
    )
    assert (record.id, record.messages) == ("town.2/7", user("The town"))
    assert record.responses[0].extra == {"conversation": "town.2", "comment_id": "7", "agrees": 5, "disagrees": 1}
    assert "Computational Democracy Project" in str(dataset.source)


def test_a_participant_votes_on_comments(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, VOTES)
    rater = Rater(id="town.2/3", group="town.2/0")
    assert [reply.text for reply in record.responses] == ["comment 7", "comment 8", "comment 9"]
    assert [reply.votes for reply in record.responses] == [
        (Vote("agree", 1, rater),),
        (Vote("disagree", 1, rater),),
        (Vote("pass", 1, rater),),
    ]
    assert record.messages == user("The town") and record.id == "town.2/3"
    _, (record,) = read(tmp_path, VOTES | {"group": None})
    assert record.responses[0].votes[0].rater == Rater(id="town.2/3")


def test_votes_without_their_comments(tmp_path: Path) -> None:
    path = write(tmp_path, VOTES)
    for name in ("comments.jsonl", "comments.csv"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="put it there, with the columns conversation, topic, comment_id, text"):
        registry.read(path)
    (tmp_path / "comments.jsonl").write_text('{"conversation": "x"}')
    with pytest.raises(DataError, match=r"comments.jsonl:1: expected the columns .* found conversation"):
        registry.read(path)


@pytest.mark.parametrize(
    ("row", "change", "says"),
    [
        (COMMENTS, {"by_group": {"0": {"agree": -1}}}, "by_group.0.agree must be a whole number"),
        (COMMENTS, {"by_group": {"0": {"like": 1}}}, "by_group.0 counts like"),
        (VOTES, {"votes": {"7": 2}}, r"votes.7 must be 1 \(agree\)"),
        (VOTES, {"votes": {"99": 1}}, "comment '99' is not in the comments file"),
        (VOTES, {"conversation": "village"}, "'village' is not in the comments file; it has town.2"),
        (TOXICITY, {"prompt": 3}, "prompt must be an object"),
        (TOXICITY_HUB, {"continuation": {"text": "x", "toxicity": 3}}, r"range \[0, 1\], got 3"),
        (PROMPTS, {"prompt": None}, "prompt must be a text"),
        (PROMPTS, {"prompt": [{"role": "x"}]}, r"prompt\[0\].role must be one of system"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, row: dict[str, Any], change: dict[str, Any], says: str) -> None:
    path = write(tmp_path, row, row | change)
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(path))
