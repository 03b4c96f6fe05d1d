"""Search among replies: the law of best-of-n on a finite set, what competes and what goes on, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pluralign.data.condition import Condition, Feedback, Targets, Weights, one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion, Engine, Request
from pluralign.sampling.local import Decoding, complete
from pluralign.sampling.search import Search
from pluralign.sampling.spread import spreads
from pluralign.steering.search import SearchSteering

PROMPT = user("tell me a joke")
KIND = one_hot("kind")


class Words:
    """Counts words: kind is how many of the reply are among the first half of the vocabulary; brief, how few there are.

    `asked` keeps what it was shown; replies with the word in `silent` get no score.
    """

    objectives = tiny.OBJECTIVES

    def __init__(self, silent: str = "") -> None:
        self.silent, self.asked = silent, list[Record]()

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.asked.append(record)
            yield dataclasses.replace(record, responses=tuple(self._scored(reply) for reply in record.responses))

    def _scored(self, reply: Response) -> Response:
        words = reply.text.split()
        if self.silent and self.silent in words:
            return reply
        known = sum(tiny.WORDS.index(word) < len(tiny.WORDS) // 2 for word in words if word in tiny.WORDS)
        return dataclasses.replace(
            reply, scores={"kind": float(known), "brief": -float(len(words)), "funny": float("funny" in words)}
        )


def searching(judge: Words | None = None, **options: object) -> Policy:
    policy = tiny.policy(SearchSteering(**options), max_position_embeddings=256)  # type: ignore[arg-type]
    policy.steering.choose_by(judge or Words())
    return policy


def asked(num: int, condition: Condition | None = KIND, max_new_tokens: int = 8) -> list[Request]:
    return [Request(PROMPT, condition, seed, max_new_tokens=max_new_tokens) for seed in range(num)]


def score(text: str) -> float:
    return Words()._scored(Response(text)).scores["kind"] or 0.0


def test_the_law_of_best_of_n_on_a_finite_set() -> None:
    """One-token replies: P(y) = F(y)^n − F(y−)^n, from the model's own next-token probabilities (methods.md A19)."""

    class Place(Words):
        def _scored(self, reply: Response) -> Response:
            place = tiny.WORDS.index(reply.text) if reply.text in tiny.WORDS else -1
            return dataclasses.replace(reply, scores={"kind": float(place), "brief": 0.0, "funny": 0.0})

    n, num = 4, 500
    policy = searching(Place(), num=n)
    done = Search(policy).generate(asked(num, max_new_tokens=1))
    drawn = Engine(policy).generate([Request(PROMPT, None, seed, max_new_tokens=1) for seed in range(4 * num)])
    reference = Counter(reply.text for reply in drawn)
    order = sorted(reference, key=lambda text: tiny.WORDS.index(text) if text in tiny.WORDS else -1)
    share = np.array([reference[text] for text in order]) / len(drawn)
    cumulative = np.concatenate([[0.0], share.cumsum()])
    expected = np.diff(cumulative**n)
    found = Counter(reply.text for reply in done)
    observed = np.array([found[text] for text in order]) / num
    assert np.abs(observed - expected).max() < 4 * math.sqrt(0.25 / num)
    assert np.abs(observed - share).max() > 0.1  # and not the base's own law


@given(st.integers(2, 64), st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_the_bound_of_the_divergence(n: int, masses: list[float]) -> None:
    """KL of the finite law is at most log n − (n − 1)/n, whatever the probabilities (ties lower it)."""
    share = np.array(masses) / sum(masses)
    law = np.diff(np.concatenate([[0.0], np.minimum(1.0, share.cumsum())]) ** n)
    kl = float(sum(p * math.log(p / q) for p, q in zip(law, share, strict=True) if p > 0))
    assert kl <= SearchSteering(num=n).kl_bound + 1e-6


def test_golden_numbers() -> None:
    """methods.md H: n = 8, KL 1.204442; the density n F^(n−1) beats the reference with probability n/(n+1) = .888889."""
    assert SearchSteering(num=8).kl_bound == pytest.approx(1.204442, abs=1e-6)
    assert SearchSteering(num=6, every=40, keep=2).kl_bound == math.inf
    u = (np.arange(100_000) + 0.5) / 100_000
    assert float((8 * u**7 * u).mean()) == pytest.approx(0.888889, abs=1e-5)
    assert float((8 * u**7 * np.log(8 * u**7)).mean()) == pytest.approx(1.204442, abs=1e-4)


def test_the_best_candidate_is_returned_and_the_same_one_alone() -> None:
    policy = searching(num=5)
    together = Search(policy).generate(asked(4))
    assert [done.text for done in together] == [Search(policy).generate([each])[0].text for each in asked(4)]
    judge = policy.steering.judge  # type: ignore[attr-defined]
    for record, done in zip(judge.asked[:4], together, strict=True):
        assert len(record.responses) == 5 and len({reply.text for reply in record.responses}) > 1
        assert score(done.text) == max(score(reply.text) for reply in record.responses)
        assert math.isnan(done.logprob)
    assert np.mean([score(done.text) for done in together]) > np.mean([score(d.text) for d in base(policy, 4)])


def base(policy: Policy, num: int) -> list[Completion]:
    return Search(policy).generate(asked(num, None))


def test_asked_for_nothing_it_is_the_base() -> None:
    policy = searching(num=5)
    assert base(policy, 3) == Engine(policy).generate(asked(3, None))
    assert not policy.steering.judge.asked  # type: ignore[attr-defined]


def test_every_reply_has_candidates_of_its_own() -> None:
    policy = searching(num=3)
    Search(policy).generate([*asked(2), Request(PROMPT, KIND, 1 << 90, max_new_tokens=8)])
    shown = [tuple(reply.text for reply in record.responses) for record in policy.steering.judge.asked]  # type: ignore[attr-defined]
    assert len(set(shown)) == 3


def test_a_reply_in_parts_is_the_reply_at_once() -> None:
    policy = searching()
    whole = Engine(policy).generate(asked(6, None, max_new_tokens=12))
    long = [(place, done) for place, done in enumerate(whole) if len(done.ids) > 5]
    assert long
    for place, done in long:
        rest = Request(PROMPT, None, place, max_new_tokens=12 - 5, prefix=done.ids[:5])
        again = Engine(policy).generate([rest])[0]
        assert (again.ids, again.text, again.finished) == (done.ids, done.text, done.finished)
        assert again.prompt_ids == done.prompt_ids
    policy.encoder.max_length = 14  # the prompt of 4 tokens loses 2
    cut = Engine(policy).generate(asked(1, None, max_new_tokens=12))[0]
    part = Engine(policy).generate([Request(PROMPT, None, 0, max_new_tokens=2, room=12)])[0]
    assert len(cut.prompt_ids) == 2 and (part.prompt_ids, part.ids) == (cut.prompt_ids, cut.ids[:2])
    with pytest.raises(ModelError, match="has ended already"):
        Engine(policy).generate([Request(PROMPT, prefix=(5, policy.encoder.end_id))])


def test_without_rewriting_and_with_one_selection_at_the_end_darwin_is_best_of_n() -> None:
    """τ beyond the reply (methods.md A21): the same candidates, and the same choice, token by token."""
    plain, late = searching(num=6), searching(num=6, every=50, keep=2)
    assert [d.ids for d in Search(plain).generate(asked(4))] == [d.ids for d in Search(late).generate(asked(4))]


def test_good_partial_replies_take_the_places_of_bad_ones() -> None:
    """Every 3 tokens all six are judged; what goes on begins as the best two did, on ways of its own."""
    policy = searching(num=6, every=3, keep=2)
    judge = policy.steering.judge  # type: ignore[attr-defined]
    done = Search(policy).generate(asked(1, max_new_tokens=9))[0]
    rounds = [[reply.text for reply in record.responses] for record in judge.asked]
    assert len(rounds) >= 2 and all(len(texts) <= 6 for texts in rounds)
    for before, after in itertools.pairwise(rounds):
        kept = sorted(before, key=score, reverse=True)[:2]
        assert all(any(text.startswith(first) for first in kept) for text in after)
    assert len(set(rounds[1])) > 2  # copies part
    assert score(done.text) == max(map(score, rounds[-1]))


def test_instructions_are_rewritten_and_judged_against_the_original() -> None:
    policy = searching(num=6, every=4, keep=3, mutations=2)
    judge = policy.steering.judge  # type: ignore[attr-defined]
    done = Search(policy).generate(asked(2))
    assert {record.messages for record in judge.asked} == {PROMPT}
    plain = Search(searching(num=6, every=4, keep=3)).generate(asked(2))
    assert [d.text for d in done] != [d.text for d in plain]
    assert done[0].prompt_ids == plain[0].prompt_ids


def test_candidates_without_a_score_are_never_chosen() -> None:
    first = Search(searching(num=6)).generate(asked(6))
    word = next(word for done in first for word in done.text.split())
    others = Search(searching(Words(word), num=12)).generate(asked(6))
    assert all(word not in done.text.split() for done in others)

    class Mute(Words):
        def _scored(self, reply: Response) -> Response:
            return reply

    with pytest.raises(ModelError, match="judged none of 6 candidates on what 'kind=1'"):
        Search(searching(Mute(), num=6)).generate(asked(1))


def test_targets_choose_the_nearest() -> None:
    policy = searching(num=8)
    wanted = dataclasses.replace(policy.objectives[0], low=0.0, high=8.0)
    policy.objectives = (wanted, *policy.objectives[1:])
    done = Search(policy).generate(asked(3, Targets({"kind": 1.0})))
    for record, reply in zip(policy.steering.judge.asked, done, strict=True):  # type: ignore[attr-defined]
        assert abs(score(reply.text) - 1) == min(abs(score(each.text) - 1) for each in record.responses)


def test_what_a_candidate_is_worth_by_hand() -> None:
    """Weights .75/.25, spreads 2 and 4, the second objective better low: .75·4/2 − .25·8/4 = 1; target (2, 4): −(1 + 1)."""
    objectives = (Objective("a", high=4), Objective("b", high=8, direction="lower"))
    steering = tiny.policy(SearchSteering(spreads=(2.0, 4.0)), objectives=objectives).steering
    assert isinstance(steering, SearchSteering)
    scores = np.array([[4.0, 8.0], [math.nan, 8.0]])
    assert steering.value(scores, Weights({"a": 0.75, "b": 0.25})).tolist() == pytest.approx(
        [1.0, math.nan], nan_ok=True
    )
    assert steering.value(scores, one_hot("b")).tolist() == [-2.0, -2.0]
    assert steering.value(scores, Targets({"a": 2.0, "b": 4.0}))[0] == pytest.approx(-2.0)
    ranged = tiny.policy(SearchSteering(), objectives=objectives).steering
    assert ranged.value(scores, one_hot("a"))[0] == 1.0


def test_spreads_by_hand() -> None:
    """Scores 0, 2, 4 (deviation √(8/3)); a constant counts by its range, and so does what nobody scored."""
    objectives = (Objective("a", high=4), Objective("b", high=8), Objective("c", high=2))
    replies = [Response("x", scores={"a": a, "b": 5.0}) for a in (0.0, 2.0, 4.0)]
    records = [Record(PROMPT, tuple(replies[:2])), Record(PROMPT, (*replies[2:], Response("y")))]
    assert spreads(records, objectives) == pytest.approx((math.sqrt(8 / 3), 8.0, 2.0))
    assert spreads([], objectives) == (4.0, 8.0, 2.0)


def test_records_in_records_out() -> None:
    policy = searching(num=4)
    drawn = complete(policy, [Record(PROMPT)] * 2, [KIND, None], 2, 0, Decoding(max_new_tokens=6))
    assert [len(each) for each in drawn] == [2, 2]
    assert math.isnan(drawn[0][0].logprob) and math.isfinite(drawn[1][0].logprob)
    with pytest.raises(ConfigError, match="temperature above 0"):
        complete(policy, [Record(PROMPT)], [KIND], decoding=Decoding(0.0))


def test_what_a_search_is_not_is_said(tmp_path: Path) -> None:
    policy = searching(num=4)
    for refused in (
        lambda: Engine(policy).generate(asked(1)),
        lambda: policy.logprobs([PROMPT], ["joke"], [KIND]),
        lambda: policy.coefficients([KIND]),
        lambda: policy.merge(KIND),
    ):
        with pytest.raises(ModelError, match=r"by search among 4 replies.*use sample or evaluate"):
            refused()
    for condition, says in (
        (Feedback("kind"), "ranks by scores"),
        (Weights({"kind": 1.0}, 2.0), "a strength does not"),
    ):
        with pytest.raises(ConditionError, match=says):
            Search(policy).generate(asked(1, condition))
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.steering == policy.steering
    with pytest.raises(ModelError, match="load_policy"):
        Search(again).generate(asked(1))


@pytest.mark.parametrize(
    "options",
    [{"num": 1}, {"every": 4}, {"keep": 2}, {"every": 4, "keep": 16}, {"mutations": 16}, {"spreads": (0.0,)}],
)
def test_settings_act_or_raise(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SearchSteering(**options)  # type: ignore[arg-type]
