"""Ipsative scores and the halo measure, against hand values and a direct computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from data_strategies import NAMES, OBJECTIVES, scored

from pluralign.data.check import check
from pluralign.data.conversions.ipsative import ipsative
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.halo import halo
from pluralign.data.objective import Objective
from pluralign.data.record import Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError

TWO = OBJECTIVES[:2]


def table(records: Dataset, allowed: tuple[str, ...] = NAMES) -> np.ndarray:
    rows = [[reply.scores.get(name, np.nan) for name in allowed] for record in records for reply in record.responses]
    return np.array(rows, dtype=float)


def halo_pool(num: int = 300, share: float = 0.8, missing: float = 0.0, seed: int = 0) -> list[Record]:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(num, 1))
    scores = np.clip(2 + share * common + (1 - share) * rng.normal(size=(num, 3)), 0, 4)
    gone = rng.random(scores.shape) < missing
    rows = [
        [None if lost else score for score, lost in zip(*pair, strict=True)] for pair in zip(scores, gone, strict=True)
    ]
    return [scored(*rows[place : place + 3]) for place in range(0, num, 3)]


def test_by_hand() -> None:
    # z = (-1, -1) and (1, 1); minus .9 of the mean leaves -.1 and .1; sd 1.1 makes -1.1 and 1.1
    together = ipsative([scored((1, 1), (3, 3), allowed=NAMES[:2])], TWO)
    assert table(together, NAMES[:2]) == pytest.approx(np.array([[-1.1, -1.1], [1.1, 1.1]]))
    # z = (-1, 1) and (1, -1): the means are 0, nothing is subtracted; the ungraded reply gets -3
    apart = ipsative([scored((1, 3), (3, 1), (0, 0), allowed=NAMES[:2])], TWO)
    assert table(apart, NAMES[:2]) == pytest.approx(np.array([[-1.1, 1.1], [1.1, -1.1], [-3, -3]]))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_against_a_direct_computation(missing: float) -> None:
    pool = [*halo_pool(missing=missing), scored((0, 0, 0))]
    raw = np.array(
        [[reply.scores.get(name, np.nan) for name in NAMES] for record in pool for reply in record.responses]
    )
    raw[~(np.nan_to_num(raw) > 0).any(1)] = np.nan
    z = (raw - np.nanmean(raw, 0)) / np.nanstd(raw, 0)
    labelled = ~np.isnan(z)
    means = np.where(labelled, z, 0).sum(1) / np.maximum(labelled.sum(1), 1)
    x = z - 0.9 * means[:, None]
    expected = x * 1.1 / np.nanstd(x, 0)
    found = table(ipsative(pool, OBJECTIVES))
    graded = labelled.any(1)
    assert found[graded] == pytest.approx(expected[graded], nan_ok=True)
    assert (found[-1] == -3).all()
    assert np.nanstd(found[graded], 0) == pytest.approx([1.1] * 3)


def test_the_halo_is_gone_and_the_ranges_hold() -> None:
    pool = halo_pool()
    before, new = halo(pool, OBJECTIVES), ipsative(pool, OBJECTIVES)
    after = halo(new, new.objectives)
    assert before.mean > 0.9 and "ipsative" in before.advice and "helpful" in before.advice
    assert after.mean < 0.3 and "told apart" in after.advice
    for record in new:
        check(record, new.objectives)
    assert new.objectives[0].low < -3 and [one.name for one in new.objectives] == list(NAMES)


def test_missing_abstained_and_unrated_stay_so() -> None:
    odd = Record(
        user("q"), (Response("a", {"helpful": 2.0, "brief": None}), Response("b"), Response("c", {"kind": None}))
    )
    *_, record = ipsative([*halo_pool(30), odd], OBJECTIVES)
    assert record.responses[0].scores["brief"] is None and "kind" not in record.responses[0].scores
    assert record.responses[1:] == odd.responses[1:]


def test_raters_are_aggregated_and_left_out() -> None:
    rated = Record(user("q"), (Response("a", ratings=(Rating({"helpful": 1.0}), Rating({"helpful": 3.0}))),))
    same = Record(user("q"), (Response("a", {"helpful": 2.0}),))
    pool = halo_pool(30)
    assert list(ipsative([*pool, rated], OBJECTIVES)) == list(ipsative([*pool, same], OBJECTIVES))


def test_lower_objectives_are_turned_and_turned_back() -> None:
    pool = halo_pool(missing=0.2)
    turned = (dataclasses.replace(OBJECTIVES[0], direction="lower"), *OBJECTIVES[1:])
    mirrored = [
        dataclasses.replace(record, responses=tuple(
            dataclasses.replace(reply, scores={name: 4 - score if name == "helpful" else score for name, score in reply.scores.items()})  # type: ignore[operator]
            for reply in record.responses))
        for record in pool
    ]  # fmt: skip
    everyone = lambda response: True  # noqa: E731
    plain, flipped = ipsative(pool, OBJECTIVES, graded=everyone), ipsative(mirrored, turned, graded=everyone)
    assert table(flipped) * [-1, 1, 1] == pytest.approx(table(plain), nan_ok=True)
    assert (flipped.objectives[0].low, flipped.objectives[0].high) == pytest.approx(
        (-plain.objectives[0].high, -plain.objectives[0].low)
    )
    for record in flipped:
        check(record, flipped.objectives)


def test_a_dataset_stays_one_and_what_cannot_work_is_refused() -> None:
    pool = halo_pool(30)

    def stream(tally: Tally):  # type: ignore[no-untyped-def]
        for record in pool:
            tally.keep()
            yield record

    result = ipsative(Dataset(OBJECTIVES, stream, "MIT", "here"), OBJECTIVES)
    assert (result.licence, result.source) == ("MIT", "here") and list(result) == list(ipsative(pool, OBJECTIVES))
    assert result.count().kept == len(pool) == ipsative(pool, OBJECTIVES).count().kept
    with pytest.raises(ConfigError, match="not an iterator"):
        ipsative(iter(pool), OBJECTIVES)
    with pytest.raises(DataError, match="funny: the graded scores do not vary"):
        ipsative(pool, [*OBJECTIVES, Objective("funny")])
    with pytest.raises(DataError, match="nothing is left"):
        ipsative([scored((1, 1), (3, 3), allowed=NAMES[:2])], TWO, share=1.0)


def test_halo_by_hand() -> None:
    # helpful and brief rise together (r = 1), kind falls (r = -1): mean -1/3
    measured = halo([scored((1, 2, 4), (2, 3, 3), (3, 4, 2))], OBJECTIVES)
    assert measured.correlation == pytest.approx(np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]]))
    assert measured.mean == pytest.approx(-1 / 3)
    assert np.isnan(halo([scored((1, None, 2), (2, None, 2))], OBJECTIVES).mean)
    assert "no halo can be measured" in halo([], OBJECTIVES).advice
    pool = halo_pool(600, missing=0.4)
    raw = np.array(
        [[reply.scores.get(name, np.nan) for name in NAMES] for record in pool for reply in record.responses]
    )
    both = ~np.isnan(raw[:, :2]).any(1)
    everyone = halo(pool, OBJECTIVES, graded=lambda response: True)
    assert everyone.correlation[0, 1] == pytest.approx(np.corrcoef(raw[both, :2].T)[0, 1])
