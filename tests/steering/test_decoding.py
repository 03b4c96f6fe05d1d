"""The decoding head: the same logits as the head's own, one row each, whatever kind of change it has."""

from __future__ import annotations

import pytest
import torch
from test_head_families import FAMILIES, of

import tiny
from pluralign.policy import Policy
from pluralign.steering.decoding import DecodingHead
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering

KINDS = {
    "low": lambda: PluralSteering(rank=3),
    "full": lambda: PluralSteering(rank="full"),
    "low, all shared": lambda: PluralSteering(rank=3, shared_where="all", shared_rank=2, shared_alpha=7.0),
    "full, all shared": lambda: PluralSteering(rank="full", shared_where="all", shared_rank=2),
    "sum": lambda: PluralSteering(rank="full", base_share="sum"),
    "trunk only": lambda: PluralSteering(where="attention", rank=2),
    "none": lambda: NoSteering(shared_where=None),
}


def rows(built: Policy, num: int = 5) -> torch.Tensor:
    """Coefficients [num, C] of every kind: zeros, one-hots, mixtures, base shares other than 1."""
    generator = torch.Generator().manual_seed(3)
    made = torch.rand(num, built.num_changes + 2, generator=generator)
    made[0, :-1], made[0, -1] = 0.0, 1.0
    made[1:3, 1:-2], made[1:, -1] = 0.0, torch.tensor([1.0, 1.0, 0.4, 1.3])
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_of_a_head_under_many_conditions(family: str, kind: str) -> None:
    built = of(FAMILIES[family](True), KINDS[kind]()) if kind != "none" else tiny.policy(KINDS[kind]())
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    for coefficients in (rows(built), rows(built)[:1].expand(5, -1)):
        with torch.no_grad():
            wanted = built.head.logits(hidden, coefficients)
        torch.testing.assert_close(DecodingHead(built.head).logits(hidden, coefficients), wanted, atol=1e-5, rtol=1e-5)


def test_conditions_do_something_to_these_heads() -> None:
    built = of(FAMILIES["llama"](True), KINDS["low"]())
    logits = DecodingHead(built.head).logits(torch.ones(5, 32), rows(built))
    assert (logits[1:] - logits[0]).abs().amax(1).min() > 1e-2
