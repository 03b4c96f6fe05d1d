"""EM over people: what each preferred by hand, both steps, a likelihood that never falls, planted groups found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data.objective import Objective
from pluralign.data.preference_groups import Preferred, by_person, preference_groups, preferred
from pluralign.data.record import Comparison, Ranking, Rater, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError

ANN, BOB = Rater("ann"), Rater("bob")
TWO = (Objective("kind", low=0, high=4), Objective("cost", low=0, high=10, direction="lower"))


def planted(num: int = 12, pairs: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """People 0, 3, 6 .. like the second feature, the others the first: differences [P, 4] and people [P]."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(num), pairs)
    differences = rng.normal(size=(len(people), 4))
    liked = np.where(people % 3 == 0, differences[:, 1], differences[:, 0])
    return differences * np.sign(liked)[:, None], people


def test_what_people_prefer_by_hand() -> None:
    """Ann: reply 0 over 1 twice and 1 over 0 once; Bob ranks; both rate: 1/4 more kind, 2/10 cheaper; nobody else counts."""
    replies = (
        Response("a", ratings=(Rating({"kind": 3.0}, BOB),)),
        Response("b", ratings=(Rating({"kind": 2.0, "cost": 3.0}, BOB), Rating({"kind": 4.0}))),
        Response("c", ratings=(Rating({"cost": 5.0}, BOB),)),
    )
    said = (
        Comparison(0, 1, "first", None, rater=ANN),
        Comparison(1, 0, "second", "kind", rater=ANN),
        Comparison(0, 1, "second", "cost", rater=ANN),
        Comparison(0, 1, "second", "warm", rater=ANN),
        Comparison(2, 0, "tie", None, rater=ANN),
        Comparison(1, 2, "first", None),
        Comparison(1, 2, "first", None, rater=Rater(None, "group")),
    )
    record = Record(user("hi"), replies, said, (Ranking(((2,), (0, 1)), rater=ANN),))
    assert list(preferred([record], TWO)) == [
        Preferred("ann", 0, 0, 1),
        Preferred("ann", 0, 2, 0),
        Preferred("ann", 0, 2, 1),
        Preferred("bob", 0, 0, 1),
        Preferred("bob", 0, 1, 2),
    ]


def test_the_e_step_by_hand() -> None:
    """log σ(2) = −.126928, log σ(−2) = −2.126928; person 1 has two pairs."""
    differences, people = np.array([[2.0], [2.0], [-2.0]]), np.array([0, 1, 1])
    expected = [[-0.126928, -2.126928], [-2.253856, -2.253856]]
    np.testing.assert_allclose(by_person(differences, people, np.array([[1.0], [-1.0]])), expected, atol=1e-6)


@pytest.mark.parametrize("assignment", ["hard", "soft"])
def test_the_m_step_is_solved(assignment: Any) -> None:
    """At the end κ w_k = Σ_u r_uk Σ (1 − σ(w_k·Δφ)) Δφ."""
    differences, people = planted()
    found = preference_groups(differences, people, 2, penalty=2.0, assignment=assignment)
    for share, w in zip(found.shares[people].T, found.weights, strict=True):
        slope = differences.T @ (share / (1 + np.exp(differences @ w)))
        np.testing.assert_allclose(slope, 2.0 * w, atol=1e-2)


@pytest.mark.parametrize("assignment", ["hard", "soft"])
def test_planted_groups_are_found_the_larger_first(assignment: Any) -> None:
    differences, people = planted()
    found = preference_groups(differences, people, 2, penalty=1.0, assignment=assignment)
    assert found.group.tolist() == [int(person % 3 == 0) for person in range(12)]
    assert found.weights[0].argmax() == 0 and found.weights[1].argmax() == 1
    np.testing.assert_allclose(found.shares.sum(1), 1)
    again = preference_groups(differences, people, 2, penalty=1.0, assignment=assignment)
    assert np.array_equal(again.weights, found.weights)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.sampled_from(["hard", "soft"]), st.floats(0.1, 10))
def test_the_likelihood_never_falls(seed: int, num: int, assignment: Any, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    people = np.concatenate([np.arange(5), rng.integers(5, size=15)])
    differences = rng.normal(size=(20, 3))
    found = preference_groups(differences, people, num, penalty=penalty, assignment=assignment, starts=1, most=15)
    assert (np.diff(found.likelihood) > -1e-4).all()
    told = by_person(differences, people, found.weights)
    if assignment == "hard":
        assert found.likelihood[-1] == pytest.approx(told.max(1).sum() - penalty / 2 * (found.weights**2).sum())


def test_one_group_is_everybody() -> None:
    differences, people = planted()
    found = preference_groups(differences, people, 1, penalty=1.0)
    assert (found.shares == 1).all() and (found.group == 0).all()
    slope = differences.T @ (1 / (1 + np.exp(differences @ found.weights[0])))
    np.testing.assert_allclose(slope, found.weights[0], atol=1e-2)


def test_settings_act_or_raise() -> None:
    differences, people = planted()
    for wrong in ({"assignment": "firm"}, {"penalty": 0.0}, {"starts": 0}, {"most": 0}):
        with pytest.raises(ConfigError, match="got"):
            preference_groups(differences, people, 2, **wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="12 raters cannot make 13 groups"):
        preference_groups(differences, people, 13)
