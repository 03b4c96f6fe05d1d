"""`steer=` in forward and generate: each row, beam and returned sequence equals its own single run."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from test_steering_laws import coefficients

from pluralign.errors import ConditionError
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from tiny import K, ids, policy, steered_logits

STEERINGS = {
    "head": lambda: PluralSteering(rank="full"),
    "all": lambda: PluralSteering(where="all", rank=2, shared_where="attention"),
}
WEIGHTS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("name", STEERINGS)
def test_forward_takes_weights_or_coefficients(name):
    steered = policy(STEERINGS[name](), shaken=0.2)
    full = coefficients(WEIGHTS.tolist())
    expected = steered_logits(steered, ids(), full)
    for steer in (WEIGHTS, full, WEIGHTS.double()):
        assert torch.allclose(steered.model(ids(), steer=steer).logits, expected, atol=1e-5)
    assert "steer" in inspect.signature(steered.model.forward).parameters
    assert type(steered.model).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize("name", STEERINGS)
@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}, {"use_cache": False}],
    ids=["greedy", "beams", "beams returned", "no cache"],
)
def test_generate_steers_each_row_as_alone(name, options):
    steered = policy(STEERINGS[name](), shaken=0.2)
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, **options}
    returned = options.get("num_return_sequences", 1)
    same = ids(1).expand(3, -1)
    together = steered.model.generate(same, attention_mask=torch.ones_like(same), steer=WEIGHTS, **options)
    for row in range(3):
        one = same[row : row + 1]
        alone = steered.model.generate(
            one, attention_mask=torch.ones_like(one), steer=WEIGHTS[row : row + 1], **options
        )
        assert torch.equal(together[row * returned : (row + 1) * returned], alone)
    assert not torch.equal(together[0], together[returned])  # the weights matter


def test_sampled_sequences_of_one_row_share_its_weights():
    steered = policy(STEERINGS["head"](), shaken=3.0)
    same = ids(1).expand(2, -1)
    options = {"max_new_tokens": 4, "do_sample": True, "top_k": 1, "num_return_sequences": 2}
    found = steered.model.generate(same, attention_mask=torch.ones_like(same), steer=WEIGHTS[:2], **options)
    assert torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])
    assert not torch.equal(found[0], found[2])


def test_weights_of_the_wrong_width_are_refused():
    for steering in (PluralSteering(), NoSteering(), PromptWeights()):
        steered = policy(steering)
        with pytest.raises(ConditionError, match="steer="):
            steered.model(ids(), steer=torch.ones(3, K + 1))
    with pytest.raises(ConditionError, match="do not depend on weights"):
        policy(NoSteering()).model(ids(), steer=WEIGHTS)


def test_a_copied_model_is_steered_too():
    steered = policy(STEERINGS["all"](), shaken=0.2)
    twin = copy.deepcopy(steered.model)
    assert torch.allclose(twin(ids(), steer=WEIGHTS).logits, steered.model(ids(), steer=WEIGHTS).logits, atol=1e-6)
