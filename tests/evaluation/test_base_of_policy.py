"""What "before" means: the base inside a steered policy, taken out of an adapter, or loaded again after full training."""

from pathlib import Path

import pytest
import torch

import made_up
import tiny
from pluralign.data.record import user
from pluralign.errors import ModelError
from pluralign.evaluation.reference import reference_of
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering

STEERINGS = {
    "plural": PluralSteering(rank=2),
    "shared": PluralSteering(rank=2, shared_where="attention"),
    "adapter": NoSteering(shared_rank=2),
    "full": NoSteering(shared_where=None),
}


@pytest.mark.parametrize("name", STEERINGS)
def test_asked_for_nothing_it_is_the_base(name: str, tmp_path: Path) -> None:
    source = made_up.words_model(tmp_path / "model")
    policy = Policy.from_base(source, STEERINGS[name], tiny.OBJECTIVES, max_length=40)
    asked = [user("tell me a joke")], ["very funny"]
    before = policy.logprobs(*asked)
    tiny.shake(policy, 0.3)
    found = reference_of(policy)
    torch.testing.assert_close(found.logprobs(*asked), before, atol=1e-5, rtol=1e-5)
    assert (found is policy) == (name in ("plural", "shared"))
    assert found.encoder.max_length == 40


def test_a_base_that_changed_or_is_unknown_is_refused(tmp_path: Path) -> None:
    policy = Policy.from_base(made_up.words_model(tmp_path / "model"), NoSteering(shared_where=None), tiny.OBJECTIVES)
    tiny.model(tiny.config(), seed=1).save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="no longer the base"):
        reference_of(policy)
    with pytest.raises(ModelError, match="does not say from which base"):
        reference_of(tiny.policy(NoSteering(shared_where=None)))
