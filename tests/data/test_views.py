"""Views: names, options, and rows that TRL and our own reader take."""

from __future__ import annotations

import pytest
from data_strategies import OBJECTIVES, scored

from pluralign.data import views
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
    with pytest.raises(ConfigError, match="power-set, one-hot"):
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


@pytest.mark.parametrize("name", views.names())
def test_every_view_is_told_and_has_rows_of_equal_keys(name: str) -> None:
    view = views.find(name)
    assert view.name == name and view.about and view.paper
    keys = {tuple(row) for row in view(RECORDS * 3, OBJECTIVES)}
    assert len(keys) <= 1
