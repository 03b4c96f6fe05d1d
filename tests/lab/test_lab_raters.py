"""The simulated people and the pool: their statistics, and that a seed repeats them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pluralign import lab
from pluralign.data.objective import names
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError
from pluralign.lab.pool import add_corrupted, draw_prompts, with_responses


def _scores(records: list[Record], rater: object, seed: int = 0) -> np.ndarray:
    return lab.score_vectors(lab.Ratings(rater, seed).score(records))  # type: ignore[arg-type]


def _exact(records: list[Record]) -> np.ndarray:
    return lab.score_vectors(lab.ExactScorer().score(records))


def test_noisy_raters_err_by_one_in_fifteen_percent(grammar_pool) -> None:
    exact, rated = _exact(grammar_pool), _scores(grammar_pool, lab.NoisyRater())
    difference = (rated - exact)[exact.any(axis=1)]
    inner = difference[(exact[exact.any(axis=1)] > 0) & (exact[exact.any(axis=1)] < 4)]
    assert set(np.unique(difference)) == {-1.0, 0.0, 1.0}
    assert abs((inner == 1).mean() - 0.075) < 0.01 and abs((inner == -1).mean() - 0.075) < 0.01
    assert rated.min() == 0 and rated.max() == 4
    assert not rated[~exact.any(axis=1)].any()


def test_halo_raters_correlate_and_turn_concise_round(grammar_pool) -> None:
    exact, rated = _exact(grammar_pool), _scores(grammar_pool, lab.HaloRater())
    pairs = np.triu_indices(6, 1)
    assert 0.55 < np.corrcoef(rated.T)[pairs].mean() < 0.67
    legal = exact.any(axis=1)
    agreement = [np.corrcoef(rated[legal, column], exact[legal, column])[0, 1] for column in range(6)]
    assert agreement[1] < -0.2 and min(agreement[:1] + agreement[2:]) > 0.4
    assert np.corrcoef(exact.T)[pairs].mean() < 0.1
    assert not rated[~legal].any() and rated.min() >= 0 and rated.max() <= 4


@pytest.mark.parametrize("rater", [lab.NoisyRater(), lab.HaloRater()])
def test_a_seed_repeats_the_ratings(grammar_pool, rater) -> None:
    few = grammar_pool[:20]
    assert np.array_equal(_scores(few, rater, 4), _scores(few, rater, 4))
    assert not np.array_equal(_scores(few, rater, 4), _scores(few, rater, 5))


def test_comparisons_keep_ties_and_give_no_scores(grammar_pool) -> None:
    few = grammar_pool[:200]
    rated = list(lab.Ratings(lab.NoisyRater(), 1).score(few))
    compared = list(lab.Comparisons(lab.NoisyRater(), 1).score(rated))
    outcomes = Counter(comparison.outcome for record in compared for comparison in record.comparisons)
    assert set(outcomes) == {"first", "second", "tie"} and 0.2 < outcomes["tie"] / sum(outcomes.values()) < 0.4
    assert all(not response.scores for record in compared for response in record.responses)
    for with_scores, record in zip(rated, compared, strict=True):
        assert len(record.comparisons) == 36
        for comparison in record.comparisons:
            first = with_scores.responses[comparison.first].scores[comparison.objective]
            second = with_scores.responses[comparison.second].scores[comparison.objective]
            assert comparison.outcome == ("tie" if first == second else "first" if first > second else "second")


def test_comparisons_of_a_share_and_not_of_spoilt_replies(grammar_pool) -> None:
    few = list(add_corrupted(grammar_pool[:300], share=1.0))
    sixth = list(lab.Comparisons(lab.NoisyRater(), share=1 / 6).score(few))
    asked = [comparison for record in sixth for comparison in record.comparisons]
    assert abs(len(asked) / (300 * 36) - 1 / 6) < 0.02
    assert {comparison.objective for comparison in asked} == set(names(lab.objectives))
    assert max(comparison.second for comparison in asked) == 3
    with pytest.raises(ConfigError, match="share"):
        lab.Comparisons(lab.NoisyRater(), share=0)


def test_raters_pass_unknown_prompts_through() -> None:
    unknown = [Record(user("Sing."), (Response("La."),))]
    assert list(lab.Ratings(lab.NoisyRater()).score(unknown)) == unknown
    assert list(lab.Comparisons(lab.NoisyRater()).score(unknown)) == unknown
    assert list(add_corrupted(unknown, share=1.0)) == unknown


def test_prompts_of_the_pool_are_even_and_seeded() -> None:
    asked = draw_prompts(1500, seed=2)
    times = Counter(record.messages for record in asked)
    assert len(times) == 130 and set(times.values()) == {11, 12}
    assert len({record.id for record in asked}) == 1500
    assert asked == draw_prompts(1500, seed=2) != draw_prompts(1500, seed=3)
    with pytest.raises(ConfigError, match="at least 1"):
        draw_prompts(0)
    with pytest.raises(ConfigError, match="one list for each prompt"):
        with_responses(asked, [])


def test_half_of_the_pool_gets_a_marked_spoilt_reply(grammar_pool) -> None:
    spoilt = list(add_corrupted(grammar_pool, seed=0))
    longer = [record for record in spoilt if len(record.responses) == 5]
    assert abs(len(longer) / len(spoilt) - 0.5) < 0.06
    assert all(record.responses[4].extra == {"corrupted": True} for record in longer)
    assert not _exact(longer)[4::5].any()
    assert spoilt == list(add_corrupted(grammar_pool, seed=0))
