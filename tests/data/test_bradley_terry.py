"""Bradley-Terry with ties, by hand and by recovery; comparisons to scores and back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from data_strategies import NAMES, OBJECTIVES, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data.bradley_terry import MODELS, fit, log_probability, probabilities
from pluralign.data.conversions.comparison_scores import score_comparisons, scores_from_comparisons
from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Ranking, Rater, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError

WEAK = 1e-9  # a prior that hardly pulls


def test_golden_values_of_rao_kupper() -> None:
    # methods.md H: TODO with a = .5 at h = .75, as a preference .575939, as a tie 1.536544; the tie at h = 0 is .24492
    win, _, tie = -np.log(probabilities(0.75, "rao_kupper", 0.5))[0]
    assert (win, tie) == pytest.approx((0.575939, 1.536544), abs=5e-7)
    assert probabilities(0.0, "rao_kupper", 0.5)[0, 2] == pytest.approx((math.e**0.5 - 1) / (math.e**0.5 + 1))


def test_two_items_by_hand() -> None:
    # 6 wins, 2 losses: d = log(6 / 2), and without ties there is no tie parameter
    found = fit([0] * 8, [1] * 8, [1] * 6 + [-1] * 2, 2, prior=WEAK)
    assert found.scores == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-5) and found.tie is None
    assert found.loglikelihood == pytest.approx(6 * math.log(0.75) + 2 * math.log(0.25))
    # with 4 ties more, Davidson's likelihood is largest where the probabilities are the shares: 6/12, 2/12, 4/12
    outcome = [1] * 6 + [-1] * 2 + [0] * 4
    for model in MODELS:
        found = fit([0] * 12, [1] * 12, outcome, 2, model, prior=WEAK)
        shares = probabilities(found.scores[0] - found.scores[1], model, found.tie)[0]
        assert shares == pytest.approx([0.5, 1 / 6, 1 / 3], abs=2e-3)  # the weak prior of the tie parameter
    davidson = fit([0] * 12, [1] * 12, outcome, 2, prior=WEAK)
    assert davidson.tie == pytest.approx(4 / math.sqrt(12), abs=5e-3)  # ν = t / √(w·l)


def test_the_prior_by_hand_keeps_a_perfect_winner_finite() -> None:
    # one win, prior 1: s_0 = -s_1 = u solves σ(-2u) = u
    found = fit([0], [1], [1], 2)
    u = found.scores[0]
    assert 1 / (1 + math.exp(2 * u)) == pytest.approx(u, abs=1e-8) and found.scores[1] == pytest.approx(-u)
    alone = fit([0], [1], [0], 3)  # all ties, and an item that was never compared
    assert alone.scores == pytest.approx([0, 0, 0], abs=1e-9) and alone.tie is not None and alone.tie > 1
    assert fit([], [], [], 2).scores.tolist() == [0, 0]


@pytest.mark.parametrize("model", MODELS)
@given(st.lists(st.sampled_from([1.0, -1.0, 0.0]), min_size=1, max_size=5), st.floats(-4, 4), st.floats(-3, 2))
def test_derivatives_and_total_probability(model: str, outcome: list[float], difference: float, level: float) -> None:
    signs, d = np.array(outcome), np.full(len(outcome), difference)
    _, slope, by_level = log_probability(d, signs, model, level)
    step = 1e-6
    up, down = (log_probability(d + side, signs, model, level)[0] for side in (step, -step))
    assert slope == pytest.approx((up - down) / (2 * step), abs=1e-5)
    up, down = (log_probability(d, signs, model, level + side)[0] for side in (step, -step))
    assert by_level == pytest.approx((up - down) / (2 * step), abs=1e-5)
    shares = probabilities(d, model, math.exp(level))
    assert shares.sum(1) == pytest.approx(1)
    assert probabilities(-d, model, math.exp(level)) == pytest.approx(shares[:, [1, 0, 2]])


comparisons = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, -1, 0])).filter(lambda row: row[0] != row[1]),
    min_size=1,
    max_size=15,
)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=30)
@given(comparisons)
def test_laws_of_the_fit(model: str, rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows)
    found = fit(*table.T, 4, model)
    assert found.scores.sum() == pytest.approx(0, abs=1e-4)
    swapped = fit(table[:, 1], table[:, 0], -table[:, 2], 4, model)
    reordered = fit(*table[::-1].T, 4, model)
    turned = fit(table[:, 0], table[:, 1], -table[:, 2], 4, model)
    assert swapped.scores == pytest.approx(found.scores, abs=1e-3)
    assert reordered.scores == pytest.approx(found.scores, abs=1e-3)
    assert turned.scores == pytest.approx(-found.scores, abs=1e-3)


@pytest.mark.parametrize(("model", "tie"), [("davidson", 0.6), ("rao_kupper", 0.4), ("davidson", None)])
def test_known_strengths_are_recovered(model: str, tie: float | None) -> None:
    rng = np.random.default_rng(0)
    true = np.array([1.5, 0.5, 0.0, -0.5, -1.5])
    pairs = np.array([(i, j) for i in range(5) for j in range(5) if i != j] * 400)
    shares = probabilities(true[pairs[:, 0]] - true[pairs[:, 1]], model, tie).cumsum(1)
    outcome = np.array([1, -1, 0])[(rng.random(len(pairs))[:, None] > shares[:, :2]).sum(1)]
    found = fit(*pairs.T, outcome, 5, model, prior=0.01)
    assert found.scores == pytest.approx(true, abs=0.1)
    assert (found.tie is None) == (tie is None) and found.tie == pytest.approx(tie, abs=0.05)


def test_bad_comparisons_and_options() -> None:
    with pytest.raises(ConfigError, match="davidson, rao_kupper"):
        fit([0], [1], [1], 2, "elo")
    with pytest.raises(ConfigError, match="prior above 0"):
        fit([0], [1], [1], 2, prior=0)
    for first, outcome in ((1, 1), (0, 2)):
        with pytest.raises(DataError, match="two different items"):
            fit([first], [1], [outcome], 2)


def compared(*given_comparisons: Comparison, models: tuple[str | None, ...] = ("m", "n")) -> Record:
    return Record(user("q"), tuple(Response(f"r{n}", model=model) for n, model in enumerate(models)), given_comparisons)


def test_records_get_scores_with_ranges_and_keep_their_comparisons() -> None:
    first = compared(Comparison(0, 1, "first", "kind"), Comparison(0, 1, "abstain", "kind"))
    second = compared(Comparison(0, 1, "second", "kind"), Comparison(0, 1, "first"), models=("n", "m"))
    records, ranges = scores_from_comparisons([first, second], OBJECTIVES)
    u = 0.337414  # σ(-2u) = u, the perfect winner above
    assert [[reply.scores for reply in record.responses] for record in records] == [
        [{"kind": pytest.approx(u, abs=1e-4)}, {"kind": pytest.approx(-u, abs=1e-4)}],
        [{"kind": pytest.approx(-u, abs=1e-4)}, {"kind": pytest.approx(u, abs=1e-4)}],
    ]
    assert records[0].comparisons == first.comparisons
    assert ranges[:2] == OBJECTIVES[:2] and (ranges[2].low, ranges[2].high) == (-0.34, 0.34)
    # as models: m won twice, n never
    records, ranges = scores_from_comparisons([first, second], OBJECTIVES, "model", overall="liked")
    v = records[0].responses[0].scores["kind"]
    assert v is not None and 2 / (1 + math.exp(2 * v)) == pytest.approx(v, abs=1e-6)
    assert records[1].responses[1].scores["kind"] == v and ranges[3].name == "liked"
    assert records[1].responses[0].scores["liked"] == pytest.approx(u, abs=1e-4)
    assert "liked" in records[0].responses[0].scores  # a model's score is that of all its replies


def test_a_lower_objective_gets_the_opposite_sign_and_the_same_evidence() -> None:
    record = compared(Comparison(0, 1, "first", "rude"))
    records, ranges = scores_from_comparisons([record], [Objective("rude", direction="lower")])
    assert (records[0].responses[0].scores["rude"] or 0) < 0
    assert evidence(records[0], ranges).verdict[0, 1, 0] == evidence(record, ranges).verdict[0, 1, 0] == 1


def test_rankings_count_and_uncompared_replies_stay_unscored() -> None:
    record = dataclasses.replace(
        compared(models=("m", "n", "o")), rankings=(Ranking(((1,), (0,)), "kind"), Ranking(((0, 1),), "brief"))
    )
    (found,), _ = scores_from_comparisons([record], OBJECTIVES)
    assert found.responses[1].scores["kind"] > 0 > found.responses[0].scores["kind"]  # type: ignore[operator]
    assert found.responses[0].scores["brief"] == pytest.approx(0, abs=1e-6) and found.responses[2].scores == {}


def test_what_cannot_be_fitted_is_said() -> None:
    record = compared(Comparison(0, 1, "first", "kind"), models=(None, "n"))
    with pytest.raises(DataError, match="which model wrote it"):
        scores_from_comparisons([record], OBJECTIVES, "model")
    with pytest.raises(ConfigError, match="reply, model"):
        scores_from_comparisons([record], OBJECTIVES, "prompt")
    with pytest.raises(ConfigError, match="'kind' exists already"):
        scores_from_comparisons([record], OBJECTIVES, overall="kind")
    taken = dataclasses.replace(record, responses=(Response("a", {"kind": 1.0}), Response("b")))
    with pytest.raises(DataError, match="already has scores of kind"):
        scores_from_comparisons([taken], OBJECTIVES)
    assert scores_from_comparisons([scored((1, 2, 3))], OBJECTIVES) == ([scored((1, 2, 3))], OBJECTIVES)


def test_scores_to_comparisons_by_hand() -> None:
    record = scored((4, 1, None), (2, 1.5, 3), (2, None, None))
    found = score_comparisons(record, OBJECTIVES, {"brief": 0.5})
    assert found.comparisons == (
        Comparison(0, 1, "first", "helpful", 2.0),
        Comparison(0, 1, "tie", "brief"),
        Comparison(0, 2, "first", "helpful", 2.0),
        Comparison(1, 2, "tie", "helpful"),
    )
    turned = tuple(dataclasses.replace(objective, direction="lower") for objective in OBJECTIVES)
    assert score_comparisons(record, turned, 1.0).comparisons[0] == Comparison(0, 1, "second", "helpful", 2.0)
    with pytest.raises(ConfigError, match="from 0"):
        score_comparisons(record, OBJECTIVES, -1)


def test_each_rater_compares_their_own_ratings() -> None:
    ann, ben = Rater("ann", "x"), Rater("ben")
    replies = (
        Response("a", ratings=(Rating({"kind": 4.0}, ann), Rating({"kind": 1.0}, ben), Rating({"kind": 9.0}))),
        Response("b", ratings=(Rating({"kind": 2.0}, ann), Rating({"kind": 3.0}, ben))),
    )
    found = score_comparisons(Record(user("q"), replies), OBJECTIVES, by_rater=True)
    assert found.comparisons == (
        Comparison(0, 1, "first", "kind", 2.0, ann),
        Comparison(0, 1, "second", "kind", 2.0, ben),
    )


@given(st.lists(st.tuples(*[st.none() | st.integers(0, 4)] * 3), max_size=4))
def test_comparisons_say_what_the_scores_said(rows: list[tuple[int | None, ...]]) -> None:
    record = scored(*rows, allowed=NAMES)
    silent = dataclasses.replace(
        score_comparisons(record, OBJECTIVES),
        responses=tuple(Response(reply.text) for reply in record.responses),
    )
    # nobody compares a reply with itself, which is the diagonal's NaN
    told, expected = (np.nan_to_num(evidence(each, OBJECTIVES).verdict) for each in (silent, record))
    assert np.array_equal(told, expected)
