"""Policy: its folder there and back, its parts, and merging into a plain model."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from pluralign.data.condition import Bounds, Weights
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.errors import (
    ConditionError,
    ConfigError,
    ModelError,
)
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from tiny import OBJECTIVES, config, ids, model, policy, shake, tokenizer

STEERINGS = {
    "head": lambda: PluralSteering(rank=4),
    "head, literal, shared": lambda: PluralSteering(rank="full", shared_where="attention", base_share="sum"),
    "all": lambda: PluralSteering(where="all", rank=2),
    "prompt": PromptWeights,
    "prompt, all trained": lambda: PromptWeights(shared_where=None),
    "none": NoSteering,
    "none, all trained": lambda: NoSteering(shared_where=None),
}
ASKED = Weights({"kind": 0.2, "brief": 0.5, "funny": 0.3})


def logprobs(steered: Policy, condition: Weights | None = ASKED) -> torch.Tensor:
    asked = None if isinstance(steered.steering, NoSteering) else condition
    return steered.logprobs([user("tell me a joke"), user("now")], ["good .", "very very long ."], [asked, asked])


# -- there and back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", STEERINGS)
def test_a_saved_policy_comes_back_with_the_same_bits(tmp_path, name, tied):
    before = policy(STEERINGS[name](), shaken=0.2, tie_word_embeddings=tied)
    before.lineage["data"] = [{"source": "people", "licence": "CC0", "records": 3}]
    after = Policy.load(before.save(tmp_path / "policy"))
    assert torch.equal(logprobs(after), logprobs(before))
    if not isinstance(before.steering, NoSteering):
        assert not torch.equal(logprobs(before), logprobs(before, None))
    assert (after.steering, after.objectives, after.lineage) == (before.steering, before.objectives, before.lineage)
    assert after.fingerprint() == before.fingerprint()
    assert after.trainable_state().keys() == before.trainable_state().keys()
    again = Policy.load(after.save(tmp_path / "again"))
    assert torch.equal(logprobs(again), logprobs(before))
    head, embeddings = after.model.get_output_embeddings(), after.model.get_input_embeddings()
    shared = getattr(head, "base", head).weight.data_ptr() == embeddings.weight.data_ptr()
    assert shared == tied


def test_bounds_and_encoder_are_kept_but_not_the_leave_to_extrapolate(tmp_path):
    bounds = Bounds({"kind": (-0.5, 0.9)}, simplex=False, allow_extrapolation=True)
    encoder = Encoder(tokenizer(), "dialogue", 40, "reject")
    before = Policy(model(config()), encoder, NoSteering(), OBJECTIVES, bounds)
    after = Policy.load(before.save(tmp_path / "policy"))
    assert after.bounds == Bounds({"kind": (-0.5, 0.9)}, simplex=False)
    assert after.encoder.config() == encoder.config()


def test_conditions_outside_the_bounds_are_refused():
    steered = policy(PluralSteering())
    for weights in ({"kind": 1.5, "brief": -0.5}, {"kind": 0.5}, {"clever": 1.0}):
        with pytest.raises(ConditionError):
            steered.check(Weights(weights))
    assert steered.check(None) is None and steered.check(ASKED) == ASKED


def test_a_policy_on_a_base_folder_and_in_half_precision(tmp_path):
    saved = policy(STEERINGS["head"](), shaken=0.2).save(tmp_path / "policy")
    fresh = Policy.from_base(saved / "base", PluralSteering(), OBJECTIVES, max_length=30, lineage={"recipe": "r"})
    assert fresh.lineage["base"] == str(saved / "base") and fresh.lineage["recipe"] == "r"
    base = AutoModelForCausalLM.from_pretrained(saved / "base", dtype="float32")
    assert torch.equal(fresh.model(ids()).logits, base(ids()).logits)
    half = Policy.load(saved, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert torch.allclose(logprobs(half), logprobs(Policy.load(saved)), atol=0.5)
    with pytest.raises(ConfigError, match="dtype"):
        Policy.load(saved, dtype="int8")


def test_two_bases_have_two_fingerprints():
    one, other = (Policy(model(config(), seed), Encoder(tokenizer()), NoSteering(), OBJECTIVES) for seed in (0, 1))
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint() != Policy(model(config()), Encoder(tokenizer(), "dialogue"), NoSteering(), OBJECTIVES)


def test_responses_that_do_not_fit_are_refused():
    short = Policy(model(config()), Encoder(tokenizer(), max_length=4), NoSteering(), OBJECTIVES)
    with pytest.raises(ModelError, match="max_length=4"):
        short.logprobs([user("tell me")], ["very very very very long"])


def test_trainable_groups_and_their_state():
    steered = policy(STEERINGS["head, literal, shared"](), shaken=0.2)
    groups = steered.trainable()
    assert [len(groups[name]) for name in ("heads", "trunk")] == [3, 16]
    other = policy(STEERINGS["head, literal, shared"]())
    other.load_trainable_state(steered.trainable_state())
    assert torch.equal(logprobs(other), logprobs(steered))
    with pytest.raises(ModelError, match="another configuration"):
        policy(STEERINGS["all"]()).load_trainable_state(steered.trainable_state())


# -- merging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", [name for name in STEERINGS if "prompt" not in name])
def test_the_merged_model_says_the_same(tmp_path, name, tied):
    steered = policy(STEERINGS[name](), shaken=0.3, tie_word_embeddings=tied)
    asked = None if isinstance(steered.steering, NoSteering) else ASKED
    steered.merge(asked).save_pretrained(tmp_path / "plain")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype="float32")
    assert json.loads((tmp_path / "plain/config.json").read_text())["tie_word_embeddings"] is False
    prompt = ids(1)
    options = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 12, "do_sample": False}
    row = steered.coefficients([asked])
    said = steered.model.generate(prompt, steer=row, **options)
    assert torch.equal(plain.generate(prompt, **options), said)
    assert torch.allclose(plain(prompt).logits, steered.model(prompt, steer=row).logits, atol=1e-4)


def test_the_literal_base_share_is_merged_too():
    bounds = Bounds(allow_extrapolation=True)
    made = PluralSteering(rank=4, shared_where="attention", base_share="sum")
    steered = Policy(model(config()), Encoder(tokenizer()), made, OBJECTIVES, bounds)
    shake(steered, 0.3)
    asked = Weights({"kind": 1.5, "brief": -1.0})
    steer = steered.coefficients([asked])
    assert torch.allclose(steered.merge(asked)(ids()).logits, steered.model(ids(), steer=steer).logits, atol=1e-4)


def test_merging_refuses_what_it_cannot_keep():
    with pytest.raises(ModelError, match="its condition is text"):
        policy(PromptWeights()).merge(ASKED)
    with pytest.raises(ConditionError, match="outside its bound"):
        policy(PluralSteering()).merge(Weights({"kind": 2.0, "brief": -1.0}))
