"""The nano world: 720 replies that the scorer agrees with, and an evaluation that is exact."""

from __future__ import annotations

import numpy as np
import pytest

from pluralign import lab
from pluralign.data.record import Record, user
from pluralign.errors import ConfigError
from pluralign.lab.lexicon import topics
from pluralign.lab.likelihood import reply_logprobs
from pluralign.lab.nano import NUM_REPLIES, draw_text, evaluate, probabilities, replies, scores, texts
from pluralign.lab.optimum import Reference, optimum
from pluralign.lab.parser import parse
from pluralign.lab.scoring import score_text

WEIGHTS = np.vstack([np.eye(6), np.full((1, 6), 1 / 6)])


@pytest.mark.parametrize("topic", topics(), ids=lambda topic: topic.noun)
def test_720_different_grammatical_replies(topic) -> None:
    assert len(set(texts(topic))) == len(replies(topic)) == NUM_REPLIES == 720
    assert [parse(topic, text) for text in texts(topic)] == list(replies(topic))
    assert [score_text(topic, text) for text in texts(topic)[::37]] == [
        tuple(row) for row in scores()[::37].astype(int)
    ]


def test_probabilities_are_those_of_the_draws() -> None:
    assert np.isclose(probabilities().sum(), 1.0) and (probabilities() > 0).all()
    assert np.allclose(probabilities() @ scores(), [1.25, 2.3656, 0.45, 0.65, 1.6263, 0.45], atol=1e-4)
    prompt, rng = lab.prompts("train")[0], np.random.default_rng(0)
    assert {draw_text(rng, prompt) for _ in range(50)} <= set(texts(topics()[0]))


def _tilted(mass: float):
    """The exact optimum at β_r .25, with probability 1 - mass leaked."""
    best = optimum(Reference(scores(), probabilities()), WEIGHTS).probabilities
    return lambda messages, replies, weights: np.log(best.T * mass)


def _base(mass: float):
    return lambda messages, replies: np.log(probabilities() * mass)


def test_the_base_has_share_zero_and_the_optimum_one() -> None:
    same = evaluate(lambda m, r, w: np.repeat(_base(0.93)(m, r)[:, None], len(w), 1), _base(0.93), WEIGHTS)
    assert np.isclose(same.share, 0.0) and np.allclose(same.kl, 0.0, atol=1e-9) and np.allclose(same.mass, 0.93)
    best = evaluate(_tilted(1.0), _base(1.0), WEIGHTS)
    assert np.isclose(best.share, 1.0, atol=1e-6) and np.allclose(best.regret, 0.0, atol=1e-6)
    assert np.allclose(best.best, best.utility - 0.25 * best.kl)


def test_leaked_probability_costs() -> None:
    full, leaky = (evaluate(_tilted(mass), _base(1.0), WEIGHTS).share for mass in (1.0, 0.9))
    assert leaky < full - 0.05


def test_numbers_equal_a_sum_by_hand() -> None:
    rng = np.random.default_rng(0)
    policy, base = rng.dirichlet(np.ones(721), size=2)
    weight = np.array([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    found = evaluate(
        lambda m, r, w: np.log(policy[:-1])[:, None], lambda m, r: np.log(base[:-1]), weight, lab.prompts("test")[:1]
    )
    rewards = np.append(scores() @ weight[0], 0.0)
    kl = (policy * np.log(policy / base)).sum()
    best = 0.25 * np.log((base * np.exp(rewards / 0.25)).sum())
    assert np.isclose(found.utility[0], policy @ rewards) and np.isclose(found.kl[0], kl)
    assert np.isclose(found.regret[0], best - policy @ rewards + 0.25 * kl)
    assert np.isclose(found.mass[0], policy[:-1].sum())


def test_refusals_say_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="720 replies"):
        evaluate(_tilted(1.0), lambda m, r: np.zeros(5), WEIGHTS)
    with pytest.raises(ConfigError, match="no single topic"):
        evaluate(_tilted(1.0), _base(1.0), WEIGHTS, [Record(user("Sing."))])
    with pytest.raises(ConfigError, match="at least one prompt"):
        evaluate(_tilted(1.0), _base(1.0), WEIGHTS, [])


def test_the_nano_model_knows_its_world(load) -> None:
    model, tokenizer = load("nano")
    prompt = lab.prompts("test")[0]
    known = np.exp(reply_logprobs(model, tokenizer, prompt.messages, texts(topics()[0])))
    assert 0.85 < known.sum() < 1.0
    assert np.corrcoef(known, probabilities())[0, 1] > 0.7
