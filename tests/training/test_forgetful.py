"""Forgetful masking: what is hidden is seen by nobody later, everything else by all; draws repeat, and errors name the way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from pluralign.data.condition import Feedback
from pluralign.data.group import Group
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError, ModelError
from pluralign.losses.conditional import Conditional
from pluralign.losses.outputs import SEEN
from pluralign.losses.sft import SFT
from pluralign.policy import Policy
from pluralign.steering.prompt.words import PromptWords
from pluralign.token_outputs import token_outputs
from pluralign.training.batching import Batch, Collator
from pluralign.training.forgetful import ForgetfulSource

TEXTS = ("good and nice joke", "good and very long joke", "short")


@pytest.fixture(scope="module")
def policy() -> Policy:
    made = tiny.policy(PromptWords(shared_where=None))
    tiny.shake(made, 0.2)
    return made


def group(text: str, *seen: float) -> Group:
    made = Group(user("tell me a joke"), (text,), (Feedback("very kind"),))
    return replace(made, series={SEEN: (tuple(map(float, seen)),)}) if seen else made


def read(policy: Policy, *groups: Group) -> tuple[Batch, torch.Tensor]:
    """The batch and the log-probability of every response token [N]."""
    batch = Collator(policy)(groups)
    return batch, token_outputs(policy, batch, with_reference=False).token_logprobs.detach()


def test_it_is_the_models_own_attention_under_that_mask(policy: Policy) -> None:
    """Several rows of one prompt against each row alone, under a mask made by hand: the end token sees no 'and' and no
    'joke', but all see themselves."""
    hidden = [(1, 0, 1, 0, 1), (0, 1, 1, 0, 1, 1), (1, 1)]
    batch, found = read(policy, *(group(text, *each) for text, each in zip(TEXTS, hidden, strict=True)))
    expected = []
    for row, (mask, each) in enumerate(zip(batch.targets_mask, hidden, strict=True)):
        places = mask.nonzero()[:, 0]
        ids = batch.input_ids[row, : places[-1] + 1]
        sees = torch.ones(len(ids), len(ids)).tril().bool()
        for place, seen in zip(places.tolist(), each, strict=True):
            sees[place + 1 :, place] &= bool(seen)
        with torch.no_grad():
            logits = policy.model(input_ids=ids[None], attention_mask=sees[None, None]).logits[0].log_softmax(-1)
        expected.append(logits[places - 1].gather(-1, ids[places, None])[:, 0])
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_a_hidden_token_makes_no_difference_to_those_after_the_next(policy: Policy) -> None:
    """It is predicted, and it predicts the token behind it (it sees itself); the rest is blind to it."""
    one, other = (read(policy, group(f"good {word} nice joke", 1, 0, 1, 1, 1))[1] for word in ("and", "very"))
    assert not torch.isclose(one[1], other[1]) and not torch.isclose(one[2], other[2])
    torch.testing.assert_close(one[3:], other[3:])
    seen = [read(policy, group(f"good {word} nice joke"))[1] for word in ("and", "very")]
    assert not torch.allclose(seen[0][3:], seen[1][3:], atol=1e-4)


def test_nothing_hidden_changes_nothing(policy: Policy) -> None:
    _, plain = read(policy, *map(group, TEXTS))
    _, seen = read(policy, *(group(text, *[1.0] * (len(text.split()) + 1)) for text in TEXTS))
    torch.testing.assert_close(seen, plain, atol=1e-5, rtol=1e-5)
    _, beside = read(
        policy, group(TEXTS[0], 1, 0, 1, 1, 1), group(TEXTS[1])
    )  # a group without the series hides nothing
    torch.testing.assert_close(beside[5:], plain[5:11], atol=1e-5, rtol=1e-5)


def source(forget: float, seed: int = 3) -> ForgetfulSource:
    groups = [group(text) for text in (" ".join(["good"] * 40), *TEXTS)]
    return ForgetfulSource(groups, 4, seed, forget, Encoder(tiny.tokenizer()))


def test_draws_are_of_seed_and_step_and_their_share_is_right() -> None:
    """A rate from 0 to forget for each response: on average half of it, and never more."""
    first, again, other = source(0.4), source(0.4), source(0.4, seed=4)
    assert [g.series for g in first.batch(5)] == [g.series for g in again.batch(5)]
    assert [g.series for g in first.batch(5)] != [g.series for g in first.batch(6)]
    assert [g.responses for g in first.batch(5)] == [g.responses for g in source(0.0).batch(5)]
    assert [g.series for g in first.batch(0)] != [g.series for g in other.batch(0)]
    rows = [g.series[SEEN][0] for step in range(200) for g in first.batch(step)]
    assert {len(row) for row in rows} == {41, 5, 6, 2}
    long = [1 - np.mean(row) for row in rows if len(row) == 41]
    assert np.mean(long) == pytest.approx(0.2, abs=0.03) and np.std(long) > 0.1
    assert first.state()["forget"] == 0.4 and all(not g.series for g in source(0.0).batch(0))


def test_where_it_cannot_be_done_it_says_so() -> None:
    policy = tiny.policy(PromptWords(shared_where=None))
    batch = Collator(policy)([group("short", 0.0, 1.0)])
    with pytest.raises(ConfigError, match="SFT is no loss over tokens, so none can be hidden; set forget to 0"):
        policy.losses(batch, SFT())
    policy.sharing = None  # as a model with recurrent layers has it
    with pytest.raises(ModelError, match="takes no attention mask of ours"):
        policy.losses(batch, Conditional())
    wrong: Any
    for wrong in (-0.1, 1.0):
        with pytest.raises(ConfigError, match="from 0 to below 1"):
            source(wrong)
