"""The linear reward model: it recovers what people compared by, and knows ties, gaps, corrupted and unfitting replies."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from scipy.stats import spearmanr

import made_up
import tiny
from pluralign.data.record import Comparison, Record, Response
from pluralign.errors import DataError
from pluralign.scorers.linear_reward import (
    CLIP,
    CORRUPTED,
    PENALTIES,
    Compared,
    choose_penalty,
    compared,
    features,
    fit_ridge,
    log_loss,
    reward_scores,
    standardised,
)
from pluralign.steering.plural import PluralSteering

NAMES = [objective.name for objective in made_up.OBJECTIVES]


@pytest.fixture(scope="module")
def policy() -> object:
    return tiny.policy(PluralSteering(rank=2), objectives=made_up.OBJECTIVES)


def table(records: list[Record]) -> np.ndarray:
    return np.array(
        [[response.scores.get(name, np.nan) for name in NAMES] for r in records for response in r.responses]
    )


def test_it_recovers_what_people_compared_by(policy: object) -> None:
    truth = table(made_up.scored(150))
    found, objectives = reward_scores(policy, made_up.compared(150), made_up.OBJECTIVES, share=0.0)
    scores = table(found)
    for k in range(2):
        assert spearmanr(scores[:, k], truth[:, k]).statistic > 0.9
    assert [(o.low, o.high, o.direction) for o in objectives] == [(-CLIP, CLIP, "higher")] * 2
    assert np.abs(scores).max() <= CLIP
    np.testing.assert_allclose(scores.mean(0), 0, atol=0.05)
    assert not any(record.comparisons for record in found)


def test_a_known_weight_is_found_from_choices_alone() -> None:
    rng = np.random.default_rng(0)
    truth, differences = np.array([2.0, -1.0, 0.0]), rng.normal(size=(4000, 3))
    said = (rng.random(4000) < 1 / (1 + np.exp(-differences @ truth))).astype(float)
    np.testing.assert_allclose(fit_ridge(Compared(differences, said), 1e-6), truth, atol=0.15)
    assert np.linalg.norm(fit_ridge(Compared(differences, said), 1e6)) < 0.01
    ties = Compared(differences, np.full(4000, 0.5))
    np.testing.assert_allclose(fit_ridge(ties, 1.0), 0, atol=1e-6)
    assert log_loss(ties, np.zeros(3)) == pytest.approx(np.log(2))


def test_the_penalty_is_chosen_on_held_out_records() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(200, 10, 40))
    clear = [Compared(d, (d[:, 0] > 0).astype(float)) for d in differences]
    noise = [Compared(d, rng.integers(0, 2, 10).astype(float)) for d in differences]
    assert choose_penalty(clear, 0) == min(PENALTIES)
    assert choose_penalty(noise, 0) == max(PENALTIES)
    assert choose_penalty(clear[:3], 0) == max(PENALTIES)


def test_ties_count_half_and_missing_nothing(policy: object) -> None:
    record = made_up.compared(1)[0]
    said = (Comparison(0, 1, "tie", "kind"), Comparison(2, 0, "first", "kind"), Comparison(1, 2, "abstain", "kind"))
    records = [dataclasses.replace(record, comparisons=said), dataclasses.replace(record, comparisons=())]
    pool = features(policy, records)
    kind, brief = compared(records, pool, made_up.OBJECTIVES)
    assert [part.preferred.tolist() for part in kind] == [[0.5, 0.0]]
    np.testing.assert_allclose(kind[0].differences, [pool[0][0] - pool[0][1], pool[0][0] - pool[0][2]])
    assert brief == []


def test_an_objective_that_nobody_compared_is_named(policy: object) -> None:
    with pytest.raises(DataError, match=r"'brief'.*--objectives"):
        reward_scores(policy, made_up.compared(10, objectives=["kind"]), made_up.OBJECTIVES)


def test_corrupted_replies_teach_nothing_and_score_lowest(policy: object) -> None:
    records = made_up.compared(40)
    spoilt = []
    for record in records:
        worst = Response("joke joke", extra={"corrupted": True})
        wins = tuple(Comparison(3, i, "first", name) for name in NAMES for i in range(3))
        added = dataclasses.replace(record, responses=(*record.responses, worst), comparisons=record.comparisons + wins)
        spoilt.append(added)
    parts = compared(spoilt, features(policy, spoilt), made_up.OBJECTIVES)
    assert sum(len(part.preferred) for part in parts[0]) == 40 * 3
    found, _ = reward_scores(policy, spoilt, made_up.OBJECTIVES)
    assert {response.scores["kind"] for record in found for response in record.responses[3:]} == {CORRUPTED}


def test_only_the_first_records_are_learnt_from(policy: object) -> None:
    records = made_up.compared(30)
    silent = [*records[:20], *(dataclasses.replace(record, comparisons=()) for record in records[20:])]
    one, two = (reward_scores(policy, given, made_up.OBJECTIVES, num_fit=20)[0] for given in (records, silent))
    assert one == two


def test_the_common_part_is_taken_out_of_scores_that_share_a_halo() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(500, 1)), rng.normal(size=(500, 3))
    usable = np.ones(500, dtype=bool)
    halo = common + 0.5 * own
    kept, auto, never = (standardised(halo, usable, share) for share in (0.9, None, 0.0))
    assert np.corrcoef(never.T)[0, 1] > 0.7
    assert abs(np.corrcoef(auto.T)[0, 1]) < 0.5
    np.testing.assert_array_equal(kept, auto)
    np.testing.assert_array_equal(standardised(own, usable, None), standardised(own, usable, 0.0))
    flat = standardised(np.hstack([own[:, :1], np.ones((500, 1))]), usable, None)
    assert np.isfinite(flat).all()


def test_replies_that_do_not_fit_are_counted_and_stay_without_scores(caplog: pytest.LogCaptureFixture) -> None:
    policy = tiny.policy(PluralSteering(rank=2), objectives=made_up.OBJECTIVES)
    policy.encoder.max_length = 8
    records = made_up.compared(40)
    unfit = sum(len(response.text.split()) > 6 for record in records for response in record.responses)
    with caplog.at_level(logging.WARNING, "pluralign"):
        found, _ = reward_scores(policy, records, made_up.OBJECTIVES)
    assert 0 < unfit < 120
    assert f"{unfit} of 120 responses do not fit" in caplog.text
    scored = [bool(response.scores) for record in found for response in record.responses]
    assert scored == [len(response.text.split()) <= 6 for record in records for response in record.responses]
    policy.encoder.max_length = 2
    with pytest.raises(DataError, match="no response fits"):
        features(policy, records)
