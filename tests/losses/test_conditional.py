"""Conditional imitation: its three terms by hand, their identities, and the tokens that do not count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.conditional import COUNTED, Conditional
from pluralign.losses.outputs import NOTHING, Judgements, TokenOutputs
from pluralign.losses.sft import SFT

# two responses of two and one tokens, under one condition; p_0 and π over a vocabulary of two
OWN = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.25, 0.75]])
OLD = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.5, 0.5]])
DRAWN = torch.tensor([0, 1, 1])


def outputs(own: Tensor = OWN, old: Tensor = OLD, **series: list[float]) -> TokenOutputs:
    rows = torch.tensor([0, 0, 1])
    logprobs = own.log()[torch.arange(3), DRAWN]
    return TokenOutputs(
        torch.stack([logprobs[:2].sum(), logprobs[2]])[:, None],
        torch.full((2,), math.nan),
        torch.tensor([2, 1]),
        rows=rows,
        token_logprobs=logprobs,
        entropy=-(own * own.log()).sum(-1),
        kl_forward=(old * (old / own).log()).sum(-1),
        kl_reverse=(own * (own / old).log()).sum(-1),
        series={name: torch.tensor(numbers) for name, numbers in series.items()},
    )


def imitated(*rows: int) -> Judgements:
    none = torch.zeros(len(rows), dtype=torch.long)
    return Judgements(torch.tensor(rows), none + NOTHING, none, torch.full((len(rows),), math.nan))


def test_by_hand() -> None:
    """Token 1: nll ln 2, H ln 2, KL(p0‖π) = .9 ln 1.8 + .1 ln .2 = .368064, KL(π‖p0) = ½ ln(.25/.09) = .510826.
    Token 2: nll ln 5, H = .8 ln 1.25 + .2 ln 5 = .500402, both KL 0.
    Token 3: nll ln 4/3, H = .562335, KL(p0‖π) = ½ ln(1/.75) = .143841, KL(π‖p0) = .25 ln .5 + .75 ln 1.5 = .130812."""
    nll = torch.tensor([(math.log(2) + math.log(5)) / 2, math.log(4 / 3)])
    entropy = torch.tensor([(math.log(2) + 0.500402) / 2, 0.562335])
    forward, reverse = torch.tensor([0.368064 / 2, 0.143841]), torch.tensor([0.510826 / 2, 0.130812])
    alt, metrics = Conditional(beta=0.05, alpha=0.06)(outputs(), imitated(0, 1))
    torch.testing.assert_close(alt, nll + 0.05 * forward - 0.06 * entropy, atol=1e-6, rtol=0)
    torch.testing.assert_close(metrics["kl"], forward, atol=1e-6, rtol=0)
    torch.testing.assert_close(metrics["entropy"], entropy, atol=1e-6, rtol=0)
    quark, _ = Conditional(beta=0.05, alpha=0.06, kl="reverse")(outputs(), imitated(0, 1))
    torch.testing.assert_close(quark, nll + 0.05 * reverse - 0.06 * entropy, atol=1e-6, rtol=0)


def test_without_terms_it_is_plain_fine_tuning() -> None:
    """α = β = 0: the token mean of SFT; and then no reference is asked for."""
    plain, metrics = Conditional()(outputs(), imitated(1, 0))
    torch.testing.assert_close(plain, SFT(reduction="token")(outputs(), imitated(1, 0))[0])
    assert set(metrics) == {"nll_token", "entropy"}
    assert not Conditional(alpha=0.06).needs_reference
    assert Conditional(beta=0.05).needs_reference


def test_a_uniform_policy_has_entropy_log_v_and_an_unmoved_one_no_distance() -> None:
    uniform = torch.full((3, 2), 0.5)
    plain, _ = Conditional()(outputs(own=uniform), imitated(0, 1))
    with_entropy, _ = Conditional(alpha=0.5)(outputs(own=uniform), imitated(0, 1))
    torch.testing.assert_close(plain - with_entropy, torch.full((2,), 0.5 * math.log(2)))
    for kl in ("forward", "reverse"):
        _, metrics = Conditional(beta=1, kl=kl)(outputs(own=OLD), imitated(0, 1))  # type: ignore[arg-type]
        torch.testing.assert_close(metrics["kl"], torch.zeros(2), atol=1e-7, rtol=0)


def test_tokens_that_do_not_count_leave_the_mean() -> None:
    """Only the second token of the first response counts; the second response has no series, and counts in full."""
    loss, metrics = Conditional(beta=1)(outputs(counted=[0.0, 1.0, math.nan]), imitated(0, 1))
    torch.testing.assert_close(loss[0], torch.tensor(math.log(5)))
    torch.testing.assert_close(metrics["kl"][1], torch.tensor(0.143841), atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match=f"no token that counts.*{COUNTED}"):
        Conditional()(outputs(counted=[0.0, 0.0, 1.0]), imitated(0))


def test_several_conditions_of_a_row() -> None:
    """Example (row 1, condition 1) reads the tokens whose place is 1 · L + 1."""
    one = outputs()
    two = TokenOutputs(
        torch.zeros(2, 2), one.reference, one.lengths,
        rows=torch.tensor([0, 0, 1, 1, 2, 3]),
        token_logprobs=torch.tensor([-1.0, -1.0, -2.0, -2.0, -3.0, -4.0]),
        entropy=torch.zeros(6),
    )  # fmt: skip
    asked = Judgements(torch.tensor([1, 0]), torch.tensor([-1, -1]), torch.tensor([1, 0]), torch.zeros(2))
    assert Conditional()(two, asked)[0].tolist() == [4.0, 1.0]


@pytest.mark.parametrize("wrong", [{"beta": -0.1}, {"alpha": math.nan}, {"kl": "sideways"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="conditional: "):
        Conditional(**wrong)  # type: ignore[arg-type]
