"""Views: names, options, and rows that TRL and our own reader take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_strategies import OBJECTIVES, scored

from pluralign.data import lines, views
from pluralign.data.readers.registry import read
from pluralign.data.record import Message, Ranking, Record, Response, user
from pluralign.errors import ConfigError, DataError

RECORDS = [scored((4, 1, 2), (2, 3, 2))]  # r0 more helpful by 2, r1 briefer by 2


def test_power_set_rows_by_hand() -> None:
    first, second = views.find("power-set")(RECORDS, OBJECTIVES)
    assert first == {
        "prompt": [{"role": "user", "content": "How?"}],
        "chosen": [{"role": "assistant", "content": "r0"}],
        "rejected": [{"role": "assistant", "content": "r1"}],
        "weights": {"helpful": 1.0, "brief": 0.0, "kind": 0.0},
        "margin": 2.0,
        "id": "",
    }
    assert second["weights"] == {"helpful": 0.0, "brief": 1.0, "kind": 0.0} and second["chosen"][0]["content"] == "r1"


def test_one_hot_rows_name_their_objective() -> None:
    rows = list(views.find("one-hot")(RECORDS, OBJECTIVES, {"conversational": "false"}))
    assert [(row["objective"], row["prompt"], row["chosen"]) for row in rows] == [
        ("helpful", "How?", "r0"),
        ("brief", "How?", "r1"),
    ]


def test_ranking_rows_of_an_overall_ranking_have_no_weights() -> None:
    record = Record(user("q"), (Response("a"), Response("b")), rankings=(Ranking(((1,), (0,))),))
    (row,) = views.find("rankings")([record], OBJECTIVES)
    assert row["objective"] is None and row["weights"] is None and row["chosen"][0]["content"] == "b"


def test_unknown_names_and_options_name_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="known are: power-set, min-margin, one-hot"):
        views.find("powerset")
    with pytest.raises(ConfigError, match="no option pears; allowed are: pairs, conversational"):
        list(views.find("rankings")(RECORDS, OBJECTIVES, {"pears": "all"}))
    with pytest.raises(ConfigError, match="net_margin is a bool such as True, got 'maybe'"):
        list(views.find("power-set")(RECORDS, OBJECTIVES, {"net_margin": "maybe"}))


def test_texts_hold_one_user_turn() -> None:
    record = scored((4, 1, 2), (2, 3, 2))
    longer = Record((Message("system", "Be kind."), *record.messages), record.responses)
    with pytest.raises(DataError, match="conversational=true"):
        list(views.find("one-hot")([longer], OBJECTIVES, {"conversational": False}))


def rows_of(name: str, records: list[Record], **options: object) -> list[dict[str, object]]:
    return list(views.find(name)(records, OBJECTIVES, {"conversational": False, **options}))


def test_conditions_are_written_into_the_prompt() -> None:
    record = scored((4, 1, 2), (2, 3, 0))
    assert [(row["prompt"], row["completion"], row["condition"]) for row in rows_of("rating-strings", [record])] == [
        ("How?\nhelpful:4,brief:1,kind:2", "r0", "helpful:4,brief:1,kind:2"),
        ("How?\nhelpful:2,brief:3,kind:0", "r1", "helpful:2,brief:3,kind:0"),
    ]
    (row, _) = rows_of("rating-strings", [record], order="kind, helpful", template="")
    assert (row["prompt"], row["condition"]) == ("How?", "kind:2,helpful:4")
    words = rows_of("feedback-words", [record], words="good,bad", weights="helpful=1")
    assert [row["prompt"] for row in words] == ["good input: How?", "bad input: How?"]
    rewards = rows_of("reward-prefix", [record], order="kind")
    assert [row["prompt"] for row in rewards] == ["How? <rm1_score> 1.0", "How? <rm1_score> -1.0"]
    goals = rows_of("reward-augmented", [record], template="{condition}|{prompt}")
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in goals] == [
        ("helpful:4,brief:1,kind:2|How?", "r0", "r1"),
        ("helpful:2,brief:3,kind:0|How?", "r1", "r0"),
    ]


def test_people_who_write_the_template_s_words_change_nothing() -> None:
    record = Record(user("say {condition} and {prompt}"), (Response("a", {"helpful": 1.0}),))
    (row,) = rows_of("rating-strings", [record])
    assert row["prompt"] == "say {condition} and {prompt}\nhelpful:1"
    with pytest.raises(ConfigError, match="once each"):
        rows_of("rating-strings", [record], template="{prompt}")
    after_tool = Record((*record.messages, Message("tool", "x")), record.responses)
    with pytest.raises(DataError, match="ends with tool"):
        rows_of("rating-strings", [after_tool])
    with pytest.raises(ConfigError, match="weights are written"):
        rows_of("feedback-words", [record], weights="helpful:1")


def test_unpaired_rows_are_those_of_trl(tmp_path: Path) -> None:
    record = Record(user("q"), (Response("a", thumb="up"), Response("b", thumb="down"), Response("c")))
    rows = rows_of("unpaired", [record])
    assert [(row["completion"], row["label"]) for row in rows] == [("a", True), ("b", False)]
    path = tmp_path / "rows.jsonl"
    lines.write(path, map(lines.dump, rows))
    again = read(path)
    assert again.reader == "trl" and [reply.thumb for one in again for reply in one.responses] == ["up", "down"]


def test_preference_rows_read_back_as_trl(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines.write(path, map(lines.dump, views.find("power-set")(RECORDS, OBJECTIVES)))
    found = [(one.responses[0].text, one.extra["weights"]) for one in read(path)]
    assert found[0] == ("r0", {"helpful": 1.0, "brief": 0.0, "kind": 0.0}) and found[1][0] == "r1"


class Passes:
    """Records that count how often they are begun."""

    def __init__(self) -> None:
        self.num = 0

    def __iter__(self) -> Iterator[Record]:
        self.num += 1
        return iter([scored((4, 1, 2)), scored((2, 3, 0))])


@pytest.mark.parametrize(
    ("name", "options", "num"),
    [
        ("reward-prefix", {}, 2),
        ("feedback-words", {"scope": "global"}, 2),
        ("feedback-words", {}, 1),
        ("rating-strings", {}, 1),
    ],
)
def test_records_are_read_as_often_as_needed_and_never_only_looked_at(
    name: str, options: dict[str, str], num: int
) -> None:
    records = Passes()
    assert len(list(views.find(name)(records, OBJECTIVES, options))) == 2 and records.num == num


def test_two_passes_refuse_a_one_way_iterator() -> None:
    with pytest.raises(ConfigError, match="reward-prefix reads the records twice"):
        views.find("reward-prefix")(iter(RECORDS), OBJECTIVES)


@pytest.mark.parametrize("name", views.names())
def test_every_view_is_told_and_has_rows_of_equal_keys(name: str) -> None:
    view = views.find(name)
    assert view.name == name and view.about and view.paper
    replies = tuple(dataclasses.replace(reply, thumb="up") for reply in scored((4, 1, 2), (2, 3, 0)).responses)
    record = Record(user("q"), replies, rankings=(Ranking(((0,), (1,)), "kind"), Ranking(((1,), (0,)))), id="7")
    rows = list(view([record, record], OBJECTIVES))
    assert len(rows) >= 4 and len({tuple(row) for row in rows}) == 1
    assert all(row["id"] == "7" for row in rows)
