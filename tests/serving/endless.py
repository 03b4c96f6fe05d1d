"""A tiny policy that never says the end token, so that a reply runs for as many steps as it may."""

from __future__ import annotations

import tiny
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering


def endless() -> Policy:
    """Replies of thousands of tokens."""
    policy = tiny.policy(PluralSteering(), 0.1, max_position_embeddings=100_000)
    policy.encoder.end_id = len(tiny.WORDS)  # outside the vocabulary
    return policy
