"""Domain preferences, ranked replies, moral choices, opinions, personas, personality items and policy questions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from reader_rows import (
    DOMAINS,
    ITEM,
    MORAL,
    MORAL_RELEASE,
    OPINIONS,
    OPINIONS_HUB,
    PERSONA,
    POLICY,
    RANKED,
    RULES,
    read,
    write,
)

from pluralign.data.condition import Weights
from pluralign.data.readers import registry
from pluralign.data.record import Comparison, Message, Ranking, Rater, Rating, user
from pluralign.errors import DataError


def test_a_domain_prefers_its_own_reply(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, DOMAINS)
    assert [reply.text for reply in record.responses] == ["a", "b", "e", "l", "a"]
    assert record.responses[3].condition == Weights({"literature": 1.0})
    assert Comparison(3, 1, "first", "literature") in record.comparisons
    # 5 x 4, less academy against normal both ways: they are the same words
    assert len(record.comparisons) == 18
    assert not any({said.first, said.second} == {0, 4} for said in record.comparisons)


def test_ranks_and_their_ties(tmp_path: Path) -> None:
    _, (record, single) = read(tmp_path, RANKED, RANKED | {"replies": RANKED["replies"][:1], "tree": 5})
    assert record.messages == (Message("user", "q"), Message("assistant", "a"), Message("user", "p"))
    assert record.rankings == (Ranking(((1,), (0, 2))),)  # "w" has no rank
    assert single.rankings == () and single.extra == {"tree": 5}


def test_moral_choices(tmp_path: Path) -> None:
    dataset, (clear,) = read(tmp_path, MORAL)
    assert len(dataset.objectives) == 10 and {one.direction for one in dataset.objectives} == {"lower"}
    first, second = clear.responses
    assert set(first.scores.values()) == {0.0}
    assert second.scores == dict.fromkeys(RULES, 0.0) | {"duty": 1.0, "pain": None}
    assert clear.comparisons == (Comparison(0, 1, "first"),) and clear.id == "C_001"
    assert clear.extra == {"ambiguity": "low", "rule": "Do not kill"}


def test_moral_choices_as_released(tmp_path: Path) -> None:
    path = tmp_path / "high.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(MORAL_RELEASE))
        table.writeheader()
        table.writerow(MORAL_RELEASE)
    dataset = registry.read(path)
    (record,) = dataset
    assert dataset.reader == "moral_choices" and record.comparisons == () and record.id == "H_002"
    assert [set(reply.scores.values()) for reply in record.responses] == [{0.0}, {1.0}]
    assert record.extra == {"ambiguity": "high", "generation_type": "Hand-Written"}


def test_opinions_are_shares_per_country(tmp_path: Path) -> None:
    _, (single,) = read(tmp_path, OPINIONS)
    assert single.id == "12" and [reply.text for reply in single.responses] == ["Yes", "No"]
    assert single.responses[0].ratings == (Rating({"share": 0.7}, Rater(group="Chile")),)
    _, (hub,) = read(tmp_path, OPINIONS_HUB)
    assert hub.messages == user("Do you?") and hub.extra == {"source": "GAS"}
    assert [rating.rater for rating in hub.responses[1].ratings] == [Rater(group="Chile"), Rater(group="Peru")]
    assert [rating.scores["share"] for rating in hub.responses[1].ratings] == [0.3, 0.5]


def test_personas_are_found_in_a_first_pass(tmp_path: Path) -> None:
    other = PERSONA | {"persona": "no-shut-down", "matches": False}
    dataset, (first, second) = read(tmp_path, PERSONA, other, PERSONA)[0], read(tmp_path, PERSONA, other)[1]
    assert [one.name for one in dataset.objectives] == ["risk-averse", "no-shut-down"]
    assert first.messages[0].content.endswith('\n"I look twice."')
    assert [reply.text for reply in first.responses] == ["Yes", "No"]
    assert first.comparisons == (Comparison(0, 1, "first", "risk-averse"),)
    assert second.comparisons == (Comparison(0, 1, "second", "no-shut-down"),)
    assert first.extra == {"confidence": 0.97}


@pytest.mark.parametrize(("key", "scores"), [(1, [5, 4, 3, 2, 1]), (-1, [1, 2, 3, 4, 5]), ("-1", [1, 2, 3, 4, 5])])
def test_personality_items_score_by_their_key(tmp_path: Path, key: Any, scores: list[float]) -> None:
    _, (record,) = read(tmp_path, ITEM | {"key": key})
    assert [reply.scores["agreeableness"] for reply in record.responses] == scores
    assert record.messages[0].content == 'How accurately does this statement describe you?\n"Trust others"'


def test_an_item_that_counts_for_no_trait(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, ITEM | {"key": 0})
    assert [reply.scores for reply in record.responses] == [{}] * 5 and record.extra["key"] == 0


def test_both_sides_of_a_policy(tmp_path: Path) -> None:
    _, (record,) = read(tmp_path, POLICY)
    assert [(reply.text, reply.extra) for reply in record.responses] == [
        ("It should.", {"stance": "affirming"}),
        ("It should NOT.", {"stance": "negating"}),
    ]
    assert record.id == "S1" and record.extra == {"topic": 3, "split": "train"}


@pytest.mark.parametrize(
    ("row", "change", "says"),
    [
        (DOMAINS, {"responses": {"academy": "a"}}, "one reply each for academy, business"),
        (RANKED, {"history": [{"role": "king", "text": "q"}]}, r"history\[0\].role must be one of prompter"),
        (RANKED, {"replies": [{"text": "x", "rank": "best"}]}, r"replies\[0\].rank must be a finite number"),
        (MORAL, {"violations1": {"death": "Perhaps"}}, "death of action1 must be one of Yes, No, No Agreement"),
        (MORAL, {"violations2": {"theft": "Yes"}}, "unknown rule theft"),
        (MORAL, {"ambiguity": "some"}, "ambiguity must be one of high, low"),
        (OPINIONS, {"distribution": [1.0]}, "has 1 shares for 2 options"),
        (OPINIONS, {"distribution": [1.2, -0.2]}, r"range \[0, 1\], got 1.2"),
        (OPINIONS_HUB, {"selections": "nothing"}, "selections must be an object"),
        (OPINIONS_HUB, {"options": "['Yes', __import__('os')]"}, "options must be a list"),
        (PERSONA, {"matches": 1}, "matches must be true or false"),
        (PERSONA, {"matches": None}, "matches must be true or false"),
        (PERSONA, {"persona": "two words"}, "cannot be an objective's name"),
        (ITEM, {"key": 2}, "key must be 1, -1 or 0"),
        (ITEM, {"trait": "X"}, "trait must be one of O, C, E, A, N"),
        (POLICY, {"negating": None}, "negating must be a text"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, row: dict[str, Any], change: dict[str, Any], says: str) -> None:
    path = write(tmp_path, row, row | change)
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(path))
