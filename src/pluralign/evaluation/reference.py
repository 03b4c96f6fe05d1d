"""The base of a policy as a policy of its own: what "before" means in every comparison."""

from __future__ import annotations

from pluralign.base_model import plain_model
from pluralign.encoding import Encoder
from pluralign.errors import ModelError
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.surgery import base_state


def reference_of(policy: Policy) -> Policy:
    """A policy that is the base when asked for nothing: the same one where that is so, else the base on its own.

    A model trained in full has lost its base; it is loaded again from where it came. Raises ModelError where that
    place is unknown, or holds other weights now.
    """
    if policy.steering.reference_inside:
        return policy if _answers_as_base(policy) else _taken_out(policy)
    source = policy.lineage.get("base")
    if source is None:
        raise ModelError("this policy was trained in full and does not say from which base; compare with that by hand")
    how = {**policy.encoder.config(), "adapter": policy.lineage.get("adapter")}
    base = Policy.from_base(source, NoSteering(), policy.objectives, **how, device=str(policy.device))
    if base.lineage["base_fingerprint"] != policy.lineage.get("base_fingerprint"):
        raise ModelError(f"{source} is no longer the base that this policy was trained from; put that one back")
    return base


def _answers_as_base(policy: Policy) -> bool:
    return bool((policy.coefficients([None]) == policy.reference_coefficients(1)).all())


def _taken_out(policy: Policy) -> Policy:
    base = plain_model(policy.model, base_state(policy.model))
    encoder = Encoder(policy.encoder.tokenizer, **policy.encoder.config())
    return Policy(base, encoder, NoSteering(), policy.objectives)
