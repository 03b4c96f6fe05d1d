"""PRISM's conversations and its survey, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_rows import PRISM, SURVEY, Row, lay, turn

from pluralign.data.dataset import Tally
from pluralign.data.evidence import aggregate, evidence
from pluralign.data.readers import registry
from pluralign.data.record import Comment, Comparison, Message, Rater, Rating, user
from pluralign.errors import DataError

NOBODY = Rater("user0")


def test_a_turn_is_a_record_with_all_its_replies(tmp_path: Path) -> None:
    dataset, tally = registry.read(lay(tmp_path / "r.jsonl", PRISM)), Tally()
    first, _ = dataset.records(tally)
    assert (tally.read, tally.kept) == (1, 1)  # rows, which are conversations
    assert (first.id, first.messages) == ("c7-0", user("hi"))
    assert [(reply.text, reply.model) for reply in first.responses] == [("yo", "m0"), ("hello", "m1"), ("hm", "m2")]
    ratings = [reply.ratings for reply in first.responses]
    assert ratings[0] == (Rating({"score": 20}, NOBODY),) and ratings[2] == ()
    # "N/A" is published as null: asked, and declined to say
    assert ratings[1] == (Rating({"score": 90}, NOBODY), Rating({"values": 70, "fluency": None}, NOBODY))
    assert aggregate(first.responses[1]) == {"score": 90, "values": 70, "fluency": None}
    assert first.comparisons == (Comparison(1, 0, "first", rater=NOBODY), Comparison(1, 2, "first", rater=NOBODY))
    assert evidence(first, dataset.objectives).size[1, 0, 0] == 70
    assert first.extra["choice_attributes"] == {"values": 99, "safety": None}
    assert first.extra["conversation_type"] == "unguided" and first.responses[0].extra["model_provider"] == "x"


def test_what_was_chosen_goes_on(tmp_path: Path) -> None:
    _, second = registry.read(lay(tmp_path / "r.jsonl", PRISM))
    assert (second.id, second.messages) == ("c7-1", (*user("hi"), Message("assistant", "hello"), *user("more")))
    assert second.responses[0].comments == (Comment("Too short.", rater=NOBODY),)
    assert second.comparisons == (Comparison(0, 1, "first", rater=NOBODY),)
    assert second.extra == {"conversation_id": "c7"}


def check_joined(folder: Path, path: Path) -> None:
    first, second = registry.read(path)
    demographics = {"age": "25-34 years old", "religion_simplified": "None", "location_reside_country": "Chile"}
    rater = Rater("user0", demographics=demographics)
    assert second.comparisons[0].rater == second.responses[1].ratings[0].rater == rater
    assert first.extra["stated_prefs"] == second.extra["stated_prefs"] == {"values": 80, "safety": 0}
    assert first.extra["survey"] == {"survey_only": False, "self_description": "I like tea."}
    assert "survey" not in second.extra


@pytest.mark.parametrize("survey", ["survey.jsonl", "survey.jsonl.gz"])
def test_the_survey_beside_it_tells_who_they_are(tmp_path: Path, survey: str) -> None:
    import gzip

    plain = lay(tmp_path / "survey.jsonl", SURVEY)
    if survey.endswith(".gz"):
        (tmp_path / survey).write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    path = lay(tmp_path / "conversations.jsonl", PRISM)
    check_joined(tmp_path, path)
    check_joined(tmp_path, tmp_path)  # the folder that holds both
    lay(path, PRISM | {"user_id": "user1"})
    assert next(iter(registry.read(path))).comparisons[0].rater == Rater("user1")  # not in the survey


def test_a_damaged_survey_is_named(tmp_path: Path) -> None:
    path = lay(tmp_path / "conversations.jsonl", PRISM)
    for row, says in [
        (SURVEY | {"user_id": 3}, "user_id must be a text"),
        (SURVEY | {"age": [30]}, "age must be a text"),
    ]:
        lay(tmp_path / "survey.jsonl", SURVEY, row)
        with pytest.raises(DataError, match=rf"survey.jsonl:2: {says}"):
            registry.read(path, on_error="skip")


CONVERSATIONS = [
    ({"conversation_history": []}, "expected at least one turn"),
    ({"conversation_history": {}}, "conversation_history must be a list"),
    ({"conversation_history": turn(0, "a", ("b", 1, False)) + turn(1, "c", ("d", 1, True))}, "no reply with if_chosen"),
    (
        {"conversation_history": turn(0, "a", ("b", 1, True), ("c", 2, True))},
        "2 replies with if_chosen; one is allowed",
    ),
    ({"conversation_history": turn(0, "a") * 2}, "one user's message and the replies to it"),
    (
        {"conversation_history": turn(0, "a", ("b", 0, True))},
        r"score must be in the objective's range \[1, 100\], got 0",
    ),
    ({"conversation_history": turn(0, "a", ("b", True, True))}, "turn 0: score must be a finite number, got True"),
    ({"performance_attributes": {"values": 101}}, r"range \[1, 100\], got 101"),
    ({"user_id": 5}, "user_id must be a text"),
    ({"open_feedback": 5}, "open_feedback must be a text"),
]


@pytest.mark.parametrize(("change", "says"), CONVERSATIONS)
def test_a_bad_conversation_is_rejected_whole(tmp_path: Path, change: Row, says: str) -> None:
    path = lay(tmp_path / "r.jsonl", PRISM, PRISM | change)
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(path))
    dataset, tally = registry.read(path, on_error="skip"), Tally()
    assert len(list(dataset.records(tally))) == 2 and (tally.kept, tally.rejected) == (1, 1)


def test_feedback_without_a_chosen_reply_is_kept(tmp_path: Path) -> None:
    history = turn(0, "a", ("b", 3, False), ("c", 4, False))
    row = PRISM | {"conversation_history": history, "performance_attributes": {"values": 7, "wit": 8}}
    (record,) = registry.read(lay(tmp_path / "r.jsonl", row))
    assert record.comparisons == () and record.extra["open_feedback"] == "Too short."
    assert record.extra["performance_attributes"] == {"values": 7, "wit": 8}
    missing = {key: value for key, value in PRISM.items() if key != "user_id"}
    with pytest.raises(DataError, match="expected the columns conversation_id, user_id, conversation_history; found"):
        list(registry.read(lay(tmp_path / "r.jsonl", missing), "prism"))
