"""Proxy tuning and contrastive decoding as methods: what is trained, what is left alone, and that all of it is kept."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import made_up
import tiny
from pluralign import lab
from pluralign.base_model import weights_fingerprint
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import Record, user
from pluralign.errors import ConfigError, ModelError
from pluralign.evaluation.preferences import judged
from pluralign.methods.contract import TrainingData
from pluralign.methods.contrastive import Contrastive
from pluralign.methods.mod import Mod
from pluralign.methods.proxy import Proxy
from pluralign.policy import Policy
from pluralign.recipes.registry import recipe
from pluralign.sampling.engine import Engine, Request
from pluralign.steering.contrastive import ContrastiveSteering
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.proxy import ProxySteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OPTIM = Optim(steps=8, batch_size=8, lr=1e-2, head_lr=2e-2, warmup=1)
EVEN = Weights({"kind": 0.5, "brief": 0.5})
TEXTS = ["good and nice joke", "short", "very very long and funny"]


def train(method: Any, folder: Path, resume: bool = False) -> Policy:
    policy = tiny.policy(dataclasses.replace(method.new_steering(made_up.OBJECTIVES)), objectives=made_up.OBJECTIVES)
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(made_up.scored(12), made_up.OBJECTIVES), run)  # type: ignore[no-any-return]


def said(policy: Policy, condition: Weights | None) -> torch.Tensor:
    return policy.logprobs([user("a joke")] * 3, TEXTS, [condition] * 3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "model"
    tiny.model(tiny.config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2), seed=7).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_a_copy_of_the_big_model_is_mod(tmp_path: Path) -> None:
    """With a = 1 and the big model's own experts: big + Σ w_i (π_i − big), the same experts bit by bit."""
    proxy = train(Proxy(optim=OPTIM), tmp_path / "proxy")
    mod = train(Mod(optim=OPTIM, steering=MixtureSteering(where="attention")), tmp_path / "mod")
    for condition in (EVEN, one_hot("brief"), None):
        torch.testing.assert_close(said(proxy, condition), said(mod, condition), atol=1e-4, rtol=0)
    assert not torch.allclose(said(proxy, EVEN), said(proxy, None), atol=1e-2)


def test_a_small_model_steers_a_big_one_that_is_left_alone(tmp_path: Path, small: Path) -> None:
    method = Proxy(optim=OPTIM, small=str(small), steering=ProxySteering(amount=0.8, plausibility=0.001))
    policy = train(method, tmp_path / "run")
    untouched = tiny.policy(ProxySteering(), objectives=made_up.OBJECTIVES)
    assert weights_fingerprint(policy.model) == weights_fingerprint(untouched.model)
    assert policy.helpers[0].model.config.hidden_size == 16
    assert torch.equal(said(policy, None), said(untouched, None))
    shutil.rmtree(tmp_path / "run" / "stages" / "expert-brief")
    again = train(method, tmp_path / "run", resume=True)
    loaded = Policy.load(policy.save(tmp_path / "policy"))
    for condition in (EVEN, one_hot("kind")):
        assert torch.equal(said(policy, condition), said(again, condition))
        assert torch.equal(said(policy, condition), said(loaded, condition))


def test_models_that_were_tuned_already(tmp_path: Path, small: Path) -> None:
    """Nothing is trained: the policy stands as soon as its models are named; equal models add nothing."""
    tuned = tmp_path / "tuned"
    tiny.model(tiny.config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2), seed=8).save_pretrained(tuned)
    tiny.tokenizer().save_pretrained(tuned)
    policy = train(Proxy(small=str(small), tuned=(str(tuned), str(small))), tmp_path / "run")
    assert len(policy.helpers) == 3 and not (tmp_path / "run" / "stages").exists()
    assert torch.allclose(said(policy, one_hot("brief")), said(policy, None), atol=1e-4)
    assert not torch.allclose(said(policy, one_hot("kind")), said(policy, None), atol=1e-2)
    with pytest.raises(ConfigError, match="1 tuned models for 2 objectives"):
        Proxy(small=str(small), tuned=(str(tuned),)).new_steering(made_up.OBJECTIVES)
    with pytest.raises(ConfigError, match="name it with small"):
        Proxy(tuned=(str(tuned),))


def test_another_vocabulary_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    words.add_tokens(["sparkle"])
    tiny.model(tiny.config(vocab_size=40)).save_pretrained(tmp_path / "other")
    words.save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="take models of one family"):
        train(Proxy(optim=OPTIM, small=str(tmp_path / "other")), tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()


def test_contrast_is_trained_as_soups_are_and_asked_against_its_reference(tmp_path: Path, small: Path) -> None:
    policy = train(Contrastive(optim=OPTIM), tmp_path / "run")
    plain = train(Contrastive(optim=OPTIM, steering=ContrastiveSteering(beta=0.0)), tmp_path / "plain")
    assert torch.equal(said(policy, None), said(plain, None))
    assert not torch.allclose(said(policy, EVEN), said(plain, EVEN), atol=1e-2)
    other = ContrastiveSteering(amateur="model", plausibility=0.0)
    with pytest.raises(ConfigError, match="give both, or neither"):
        Contrastive(steering=other)
    against = train(Contrastive(optim=OPTIM, steering=other, amateur_model=str(small)), tmp_path / "against")
    loaded = Policy.load(against.save(tmp_path / "policy"))
    assert torch.equal(said(against, EVEN), said(loaded, EVEN)) and len(loaded.helpers) == 1
    assert torch.isfinite(said(against, EVEN)).all()


@pytest.mark.parametrize("steering", [ContrastiveSteering(plausibility=0.0), ContrastiveSteering(beta=0.0)])
def test_pairs_are_judged_as_the_policy_answers(tmp_path: Path, steering: ContrastiveSteering) -> None:
    """A report on pairs sees the contrast, and small models beside a big one: the log-probabilities of `logprobs`."""
    records = made_up.scored(3)
    policies = [train(Contrastive(optim=OPTIM, steering=steering), tmp_path / "a"), train(Proxy(optim=OPTIM), tmp_path / "b")]  # fmt: skip
    for policy in policies:
        for each in judged(policy, records, made_up.OBJECTIVES[:1]):
            pairs = [(r, i) for r in records for i in range(3) for j in range(3) if _kinder(r, i, j)]
            texts = [record.responses[place].text for record, place in pairs]
            own = policy.logprobs([record.messages for record, _ in pairs], texts, [one_hot("kind")] * len(pairs))
            assert sorted(each.chosen.tolist()) == pytest.approx(sorted(own.tolist()), abs=1e-3)


def _kinder(record: Record, first: int, second: int) -> bool:
    one, two = (record.responses[place].scores["kind"] or 0.0 for place in (first, second))
    return one > two


def test_the_labs_two_models_read_the_same_tokens() -> None:
    """The recipe `nano`: a model of another size and training beside the lab's base; untuned it adds nothing."""
    method = recipe("proxy", "nano")
    assert isinstance(method, Proxy)
    big = Policy.from_base(lab.base_path("base"), method.new_steering(lab.objectives), lab.objectives)
    big.assist(Policy.from_base(method.small, dataclasses.replace(method.experts), lab.objectives))
    assert big.helpers[0].model.config.hidden_size != big.model.config.hidden_size
    prompt = next(iter(lab.prompts("train"))).messages
    asked, plain = (
        Engine(big).generate([Request(prompt, condition, seed=1, max_new_tokens=16)])[0]
        for condition in (one_hot("funny"), None)
    )
    assert asked.ids == plain.ids and asked.logprob == pytest.approx(plain.logprob, abs=0.3)  # the mask renormalises
