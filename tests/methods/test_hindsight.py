"""Chain of Hindsight: which tokens count, chains in both orders, and single replies as conditional fine-tuning."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Feedback, Targets, Weights, one_hot
from pluralign.data.group import Group
from pluralign.data.record import Record, Response, user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.losses.conditional import COUNTED, Conditional
from pluralign.losses.sft import SFT
from pluralign.methods.contract import TrainingData
from pluralign.methods.hindsight import Hindsight, counted_tokens
from pluralign.policy import Policy
from pluralign.steering.prompt.words import PromptWords
from pluralign.training.batching import Collator
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = made_up.OBJECTIVES
METHOD = Hindsight(
    optim=Optim(steps=5, batch_size=8, lr=3e-3, warmup=1),
    epochs=None,
    better=("very {}",),
    worse=("a {} joke",),
    steering=PromptWords(shared_where=None),
)


def chains(method: Hindsight, records: list[Record], seed: int = 0) -> list[Group]:
    """What it would train on."""
    data = TrainingData(records, OBJECTIVES)
    return method._groups(records, data, Encoder(tiny.tokenizer()), seed)


def test_feedback_between_replies_is_read_and_not_learnt() -> None:
    encoder = Encoder(tiny.tokenizer())
    second = Response("short", finished=True)
    both = Response("good and nice a kind joke: short")
    assert counted_tokens(encoder, "good and nice", second, both) == (1, 1, 1, 0, 0, 0, 0, 1, 1)
    cut = replace(second, finished=False)
    assert counted_tokens(encoder, "good and nice", cut, replace(both, finished=False)) == (1, 1, 1, 0, 0, 0, 0, 1)


def test_the_loss_of_a_chain_is_that_of_its_replies() -> None:
    """log p of the whole minus that of the feedback's words, each after what stands before it."""
    policy = tiny.policy(PromptWords(shared_where=None))
    tiny.shake(policy, 0.2)
    group = chains(replace(METHOD, chains=1, alone=0.0), made_up.scored(1))[0]
    batch = Collator(policy)([group])
    _, losses, _ = policy.losses(batch, Conditional())
    mask, ids = batch.targets_mask[0], batch.input_ids[0]
    logits = tiny.steered_logits(policy, batch.input_ids, batch.coefficients[0])[0].log_softmax(-1)
    tokens = torch.stack([logits[place - 1, ids[place]] for place in mask.nonzero()[:, 0].tolist()])
    counted = torch.tensor(group.series[COUNTED][0])
    assert 0 < counted.sum() < len(counted)
    torch.testing.assert_close(losses[0], -(tokens * counted).sum() / counted.sum(), atol=1e-5, rtol=1e-5)


def test_chains_stand_in_both_orders() -> None:
    """The words before the first reply are the better ones as often as the worse; what follows is the other kind."""
    found = chains(replace(METHOD, chains=40, alone=0.0), made_up.scored(20))
    first = Counter(group.conditions[0].text.split()[0] for group in found)  # type: ignore[union-attr]
    assert set(first) == {"very", "a"}
    assert 0.4 < first["very"] / len(found) < 0.6
    for group in found:
        told, text = group.conditions[0].text, group.responses[0]  # type: ignore[union-attr]
        about = told.removeprefix("very ") if told.startswith("very ") else told[2 : -len(" joke")]
        assert (f" a {about} joke: " if told.startswith("very ") else f" very {about}: ") in text
    assert {group.conditions[0].text for group in found} >= {"very kind", "very brief", "very kind and brief"}  # type: ignore[union-attr]


def test_one_reply_a_chain_is_conditional_fine_tuning() -> None:
    """alone 1: no token is left out, and the loss is SFT's token mean; a tenth stands without feedback."""
    found = chains(replace(METHOD, alone=1.0, chains=40), made_up.scored(20))
    assert all(not group.series for group in found)
    asked = sum(group.conditions[0] is None for group in found) / len(found)
    assert 0.05 < asked < 0.15
    policy = tiny.policy(PromptWords(shared_where=None))
    batch = Collator(policy)(found[:6])
    torch.testing.assert_close(
        policy.losses(batch, Conditional())[1], policy.losses(batch, SFT())[1], atol=1e-5, rtol=1e-5
    )


def test_a_reply_that_was_cut_off_is_followed_by_nothing() -> None:
    records = [
        replace(record, responses=tuple(replace(reply, finished=False) for reply in record.responses))
        for record in made_up.scored(10)
    ]
    assert all(not group.series and group.unfinished for group in chains(replace(METHOD, alone=0.0), records))


def test_weights_are_read_as_the_nearest_set() -> None:
    steering = METHOD.new_steering(OBJECTIVES)
    for weights, phrase in (
        ({"kind": 1.0}, "very kind"),
        ({"kind": 0.5, "brief": 0.5}, "very kind and brief"),
        ({"kind": 0.75, "brief": 0.25}, "very kind"),  # cosines .949 and .894
        ({"kind": 0.6, "brief": 0.4}, "very kind and brief"),  # .832 and .981
    ):
        assert steering.translate(Weights(weights), OBJECTIVES) == Feedback(phrase)
    assert METHOD.steering.phrases == ()  # the method's own settings stay what they were


def test_it_trains_from_comparisons_saves_and_loads(tmp_path: Path) -> None:
    base = made_up.words_model(tmp_path / "model")
    policy = Policy.from_base(base, METHOD.new_steering(OBJECTIVES), OBJECTIVES)
    with Run(tmp_path / "run") as run:
        METHOD.train(policy, TrainingData(made_up.compared(8), OBJECTIVES, made_up.compared(4, seed=1)), run)
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    args = ([user("tell me a joke")] * 2, ["nice", "good and nice"], [one_hot("kind"), Feedback("very brief")])
    torch.testing.assert_close(policy.logprobs(*args), again.logprobs(*args), atol=0, rtol=0)
    assert again.steering == policy.steering
    with pytest.raises(ConditionError, match="ask with weights or words"):
        again.check(Targets({"kind": 1.0}))


def test_settings_act_or_raise(tmp_path: Path) -> None:
    for wrong in (
        {"better": ("very",), "worse": ("a {} joke",)},
        {"better": ("very {}",)},
        {"better": (), "worse": ()},
        {"chains": 0},
        {"alone": 1.5},
        {"forget": 1.0},
        {"forget": -0.1},
        {"epochs": -1.0},
    ):
        with pytest.raises(ConfigError):
            Hindsight(**wrong)  # type: ignore[arg-type]
    policy = tiny.policy(METHOD.new_steering(tiny.OBJECTIVES))
    alone = [replace(record, responses=record.responses[:1]) for record in made_up.scored(3)]
    with Run(tmp_path / "run") as run, pytest.raises(DataError, match="two replies that differ"):
        METHOD.train(policy, TrainingData(alone, tiny.OBJECTIVES), run)
