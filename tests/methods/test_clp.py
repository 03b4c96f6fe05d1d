"""CLP: copies mixed by weights (identities of methods.md A2), trained on replies of its own or on pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Weights, from_vector, one_hot
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, user
from pluralign.errors import ConditionError, ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.clp import Clp
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.drawn_pairs import DrawnPairs
from pluralign.methods.steps.online import Sampling
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.steering.plural_kl import PluralKL
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.batching import collate
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = made_up.OBJECTIVES
EVEN = Weights({"kind": 0.5, "brief": 0.5})
SMALL = Sampling(prompts_per_step=2, replies_per_prompt=2, max_new_tokens=4, num_reference=8)
ONE_TOKEN = Sampling(prompts_per_step=6, replies_per_prompt=4, max_new_tokens=1, standardise="none")
OPTIM = Optim(steps=3, lr=1e-2, head_lr=1e-2, warmup=0)
PROMPTS = [Record(user(text), id=text) for text in ("tell me a joke", "now", "a very short joke")]
VARIANTS = {
    "full": PluralSteering(where="all", rank=2),
    "attn": PluralSteering(where="attention", rank=2),
    "logit": PluralSteering(where="head", rank="full"),
    "prompt": PromptWeights(shared_where=None),
}


class Words:
    """Scores by rule: kind counts kind words (0..4), brief falls with the length (0..8). Fails once at record `fail_at`."""

    objectives = OBJECTIVES

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at, self.asked = fail_at, 0

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if self.asked == self.fail_at:
                self.fail_at = -1
                raise ConnectionError("the judge is away")
            self.asked += 1
            replies = (dataclasses.replace(r, scores=scores(r.text)) for r in record.responses)
            yield dataclasses.replace(record, responses=tuple(replies))


def scores(text: str) -> dict[str, float]:
    words = text.split()
    kind = sum(word in ("kind", "nice", "good") for word in words)
    return {"kind": float(min(4, kind)), "brief": float(max(0, 8 - len(words)))}


def train(
    method: Clp,
    folder: Path,
    scorer: Words | None = None,
    resume: bool = False,
    objectives: Sequence[Objective] = OBJECTIVES,
) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(objectives)), objectives=objectives)
    data = TrainingData(made_up.scored(8), tuple(objectives), prompts=PROMPTS, scorer=scorer)
    with Run(folder, resume=resume) as run:
        return method.train(policy, data, run)


def said(policy: Policy, condition: Weights | None, texts: Sequence[str] = ("good and nice", "short")) -> torch.Tensor:
    return policy.logprobs([user("a joke")] * len(texts), texts, [condition] * len(texts))


# -- identities of the mechanism -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["full", "attn", "logit"])
def test_one_weight_is_its_copy_and_equal_copies_do_not_know_the_weights(kind: str) -> None:
    policy = tiny.policy(dataclasses.replace(VARIANTS[kind]), 0.2, OBJECTIVES)  # type: ignore[type-var]
    first = said(policy, one_hot("kind"))
    state = {name: tensor.clone() for name, tensor in policy.steering_state().items()}
    assert not torch.allclose(first, said(policy, one_hot("brief")), atol=1e-2)
    policy.load_steering_state({name: torch.stack([tensor[0], 0 * tensor[1]]) for name, tensor in state.items()})
    torch.testing.assert_close(said(policy, one_hot("kind")), first, atol=1e-5, rtol=0)  # its own copy and no other
    policy.load_steering_state({name: torch.stack([tensor[0], tensor[0]]) for name, tensor in state.items()})
    for weights in (one_hot("brief"), EVEN, Weights({"kind": 0.2, "brief": 0.8})):
        torch.testing.assert_close(said(policy, weights), first, atol=1e-4, rtol=0)


def test_logit_clp_is_the_plural_head() -> None:
    """Logits under w are Σ w_i of those under w_i alone (methods.md A1, identity 2)."""
    policy = tiny.policy(PluralSteering(where="head", rank="full"), 0.2, OBJECTIVES)
    ids = tiny.ids()
    alone = [tiny.steered_logits(policy, ids, policy.coefficients([one_hot(o.name)] * 3)) for o in OBJECTIVES]
    mixed = tiny.steered_logits(policy, ids, policy.coefficients([Weights({"kind": 0.3, "brief": 0.7})] * 3))
    torch.testing.assert_close(mixed, 0.3 * alone[0] + 0.7 * alone[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("steering", [PluralSteering(where="attention", rank="full"), PluralSteering(rank="full"),
                                      PluralKL(where="all", rank="full", alpha=0.1, lowest=0.05, highest=0.5)])  # fmt: skip
def test_the_gradient_of_a_copy_is_its_weight_times_the_gradient(steering: PluralSteering | PluralKL) -> None:
    policy = tiny.policy(dataclasses.replace(steering), 0.1, OBJECTIVES)
    condition = Weights({"kind": 0.3, "brief": 0.7})
    shares = policy.coefficients([condition])[0, :-2]
    group = Group(user("a joke"), ("good", "very long"), (condition,), values=((1.5,), (-0.5,)))
    total, _, _ = policy.losses(collate(policy, [group]), PolicyGradient())
    copies = [parameter for name, parameter in policy.model.named_parameters() if ".full." in name]
    gradients = torch.autograd.grad(total, copies)
    size = len(shares)
    assert len(gradients) % size == 0
    for start in range(0, len(gradients), size):
        scaled = [gradient / share for gradient, share in zip(gradients[start : start + size], shares, strict=True)]
        assert float(scaled[0].abs().max()) > 1e-6
        for other in scaled[1:]:
            torch.testing.assert_close(other, scaled[0], atol=1e-5, rtol=1e-3)


# -- what is drawn -------------------------------------------------------------------------------------------------------


def test_weights_are_drawn_for_every_prompt_from_the_simplex_and_its_corners() -> None:
    method = Clp(corner=0.25, steering=PluralSteering(rank=2))
    policy = tiny.policy(method.new_steering(OBJECTIVES), objectives=OBJECTIVES)
    rng = np.random.default_rng(0)
    drawn = [method._drawn(rng, policy, OBJECTIVES) for _ in range(2000)]
    shares = np.array([weights.values.get("kind", 0.0) for weights in drawn])
    assert all(sum(weights.values.values()) == pytest.approx(1) for weights in drawn)
    inside = shares[(shares > 0) & (shares < 1)]
    assert len(inside) / 2000 == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(np.quantile(inside, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.04)  # w_1 ~ U[0, 1]
    assert (shares == 1).mean() == pytest.approx((shares == 0).mean(), abs=0.03)


def test_alpha_is_drawn_evenly_and_asked_for_by_strength() -> None:
    method = Clp(alpha=0.1, alpha_range=(0.02, 0.6), steering=PluralSteering(rank=2))
    steering = method.new_steering(OBJECTIVES)
    assert isinstance(steering, PluralKL)
    assert steering.num_changes(OBJECTIVES) == 3
    policy = tiny.policy(steering, objectives=OBJECTIVES)
    rng = np.random.default_rng(0)
    levels = [method._alpha(policy, method._drawn(rng, policy, OBJECTIVES)) for _ in range(1000)]
    assert min(levels) >= 0.02 - 1e-9 and max(levels) <= 0.6 + 1e-9
    np.testing.assert_allclose(np.quantile(levels, [0.25, 0.5, 0.75]), [0.165, 0.31, 0.455], atol=0.03)


# -- training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(VARIANTS))
def test_every_variant_learns_is_asked_and_is_saved(tmp_path: Path, kind: str) -> None:
    method = Clp(sampling=SMALL, optim=OPTIM, steering=VARIANTS[kind])  # type: ignore[arg-type]
    scorer = Words()
    policy = train(method, tmp_path / "run", scorer)
    assert scorer.asked == 8 + 3 * 2  # replies of the reference, and two prompts a step
    assert not torch.allclose(said(policy, EVEN), said(policy, one_hot("kind")), atol=1e-4)
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    for condition in (EVEN, one_hot("brief")):
        assert torch.equal(said(again, condition), said(policy, condition))


@pytest.mark.parametrize(("kind", "fail_at"), [("attn", 5), ("attn", 11), ("prompt", 12)])
def test_a_scorer_that_fails_loses_nothing(tmp_path: Path, kind: str, fail_at: int) -> None:
    """While the reference is scored (the first 8 records), and in the second and third step."""
    method = Clp(sampling=SMALL, optim=OPTIM, steering=VARIANTS[kind], checkpoint_every=1)  # type: ignore[arg-type]
    whole = train(method, tmp_path / "whole", Words())
    scorer = Words(fail_at)
    with pytest.raises(ConnectionError):
        train(method, tmp_path / "cut", scorer)
    again = train(method, tmp_path / "cut", scorer, resume=True)
    assert scorer.asked == 14
    for condition in (one_hot("kind"), EVEN):
        assert torch.equal(said(whole, condition), said(again, condition))


def test_policy_gradient_comes_near_the_exact_optimum_at_every_weight(tmp_path: Path) -> None:
    """Replies of one token are a finite set: V_{α,w} and its optimum are known. `kind` likes kind words, `brief` the end."""
    policies = {0: tiny.policy(dataclasses.replace(VARIANTS["full"]), objectives=OBJECTIVES)}  # type: ignore[type-var]
    for steps in (6, 24):
        optim = Optim(steps=steps, lr=2e-2, warmup=0, schedule="constant")
        method = Clp(alpha=0.2, sampling=ONE_TOKEN, steering=VARIANTS["full"], optim=optim, checkpoint_every=100)  # type: ignore[arg-type]
        policies[steps] = train(method, tmp_path / str(steps), Words())
    asked = [np.array(weights) for weights in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))]
    found = {steps: np.array([value(policy, weights, 0.2) for weights in asked]) for steps, policy in policies.items()}
    start, best = found[0].T
    early, late = ((found[steps][:, 0] - start) / (best - start) for steps in (6, 24))
    assert (early < late).all()
    assert late.min() > 0.2 and late.mean() > 0.5


def value(policy: Policy, weights: np.ndarray, alpha: float) -> tuple[float, float]:
    """(V, the best possible V), exactly, mean over the prompts: all replies of one token."""
    tokenizer = policy.encoder.tokenizer
    texts = [tokenizer.decode([token], skip_special_tokens=True) for token in range(len(tokenizer))]
    reward = torch.tensor([weights @ np.array(list(scores(text).values())) for text in texts])
    condition = from_vector(weights, OBJECTIVES)
    found = []
    for prompt in PROMPTS:
        ids = torch.tensor([policy.encoder.prompt(prompt.messages).ids])
        own, reference = (
            tiny.steered_logits(policy, ids, rows)[0, -1].double().log_softmax(-1)
            for rows in (policy.coefficients([condition]), policy.reference_coefficients(1))
        )
        reached = (own.exp() * ((1 - alpha) * reward - alpha * (own - reference))).sum()
        best = alpha * torch.logsumexp(reference + (1 - alpha) / alpha * reward, -1)
        found.append((float(reached), float(best)))
    reached_mean, best_mean = np.mean(found, axis=0)
    return float(reached_mean), float(best_mean)


def test_one_reward_and_many_alpha(tmp_path: Path) -> None:
    """The nearer α is to 1, the nearer the policy stays to the reference."""
    method = Clp(
        alpha=0.1, alpha_range=(0.02, 0.98), steering=PluralSteering(where="all", rank=4),
        sampling=ONE_TOKEN,
        optim=Optim(steps=18, lr=2e-2, warmup=0, schedule="constant"), checkpoint_every=100,
    )  # fmt: skip
    policy = train(method, tmp_path / "run", Words(), objectives=OBJECTIVES[1:])
    steering = policy.steering
    assert isinstance(steering, PluralKL)
    ids = torch.tensor([policy.encoder.prompt(PROMPTS[0].messages).ids])
    reference = tiny.steered_logits(policy, ids, policy.reference_coefficients(1))[0, -1].log_softmax(-1)
    divergence = []
    for level in (0.03, 0.5, 0.95):
        rows = policy.coefficients([Weights({"brief": 1.0}, steering.strength(level))])
        own = tiny.steered_logits(policy, ids, rows)[0, -1].log_softmax(-1)
        divergence.append(float((own.exp() * (own - reference)).sum()))
    assert divergence == sorted(divergence, reverse=True)
    assert divergence[0] > 3 * divergence[2]


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (Clp(alpha=1.0), "alpha is in"),
        (Clp(corner=1.5), "corner in"),
        (Clp(pairs=DrawnPairs(weights_per_step=4)), "set that, or leave pairs alone"),
        (Clp(learn_from="preferences", alpha=0.1), "leave alpha, corner, sampling alone"),
        (Clp(), "give --scorer"),
        (Clp(alpha_range=(0.01, 0.5), steering=PromptWeights()), "alpha_range needs"),
        (Clp(alpha_range=(0.01, 0.5), steering=PluralSteering(base_share="sum")), "base_share at one"),
        (Clp(alpha_range=(0.05, 0.5)), "lowest <= alpha"),
    ],
)
def test_settings_act_or_raise(tmp_path: Path, method: Clp, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        train(method, tmp_path / "run")


def test_without_a_range_of_alpha_a_strength_only_scales_the_changes() -> None:
    policy = tiny.policy(Clp().new_steering(OBJECTIVES), 0.1, OBJECTIVES)
    torch.testing.assert_close(
        said(policy, dataclasses.replace(EVEN, strength=0.0)), said(policy, None), atol=1e-5, rtol=0
    )
    with pytest.raises(ConditionError, match="outside the levels"):
        tiny.policy(Clp(alpha_range=(0.01, 0.5)).new_steering(OBJECTIVES), objectives=OBJECTIVES).check(
            dataclasses.replace(EVEN, strength=9.0)
        )
