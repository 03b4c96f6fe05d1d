"""OnPolicySource under `fit`: a run that is killed between steps ends as if it had not been, and draws nothing twice."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from pluralign.data import simplex
from pluralign.data.condition import Bounds, Condition, Weights, from_vector, one_hot
from pluralign.data.group import Group
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.losses.dpo import DPO
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.on_policy import OnPolicySource, log_ratios
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run

PROMPTS = [
    Record(user(text), id=str(i))
    for i, text in enumerate(("tell me a joke", "now", "a very short joke", "please", "joke"))
]
SHORT = Decoding(max_new_tokens=5)
OPTIM = Optim(steps=6, lr=1e-2, head_lr=1e-2, warmup=1)
MECHANISMS = {
    "heads": lambda: PluralSteering(rank=2),
    "attention": lambda: PluralSteering(where="attention", rank=2),
    "prompt": lambda: PromptWeights(shared_rank=2),
    "full": lambda: PromptWeights(shared_where=None),
}


class Length:
    """Scores "brief"; counts what it was asked; fails once at its record number `fail_at`."""

    objectives = tiny.OBJECTIVES

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at, self.asked = fail_at, 0

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if self.asked == self.fail_at:
                self.fail_at = -1
                raise ConnectionError("the judge is away")
            self.asked += 1
            replies = (dataclasses.replace(r, scores={"brief": len(r.text.split()) / 10}) for r in record.responses)
            yield dataclasses.replace(record, responses=tuple(replies))


def ask(rng: np.random.Generator) -> Condition:
    return from_vector(simplex.dirichlet(rng, 1, tiny.K)[0], tiny.OBJECTIVES)


def view(policy: Policy):  # type: ignore[no-untyped-def]
    """Each reply's score less .01 ρ, less the mean of its prompt."""

    def groups(records: Sequence[Record], step: int) -> list[Group]:
        found = []
        for record, rho in zip(records, log_ratios(policy, records), strict=True):
            returns = np.array([reply.scores["brief"] for reply in record.responses]) - 0.01 * np.array(rho)
            group = Group.of(record, record.responses, (record.responses[0].condition,))
            found.append(dataclasses.replace(group, values=tuple((float(x),) for x in returns - returns.mean())))
        return found

    return groups


def train(folder: Path, kind: str, scorer: Length, resume: bool = False, steps: int = 6, **sizes: Any) -> Policy:
    """Checkpoints every 4 steps."""
    policy = tiny.policy(MECHANISMS[kind]())
    policy.keep_reference()
    with Run(folder, resume=resume) as run:
        stage = run.stage("fit")
        options = {
            "prompts_per_step": 3,
            "replies_per_prompt": 2,
            "decoding": SHORT,
            "seed": 4,
            **sizes,
        }
        source = OnPolicySource(policy, PROMPTS, scorer, stage.folder / "rollouts", ask, view(policy), **options)
        fit(policy, source, PolicyGradient(), stage, dataclasses.replace(OPTIM, steps=steps), checkpoint_every=4)
    return policy


def logged(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("rollouts/*/*.jsonl")}


@pytest.mark.parametrize(("kind", "fail_at"), [("heads", 1), ("attention", 9), ("full", 11), ("prompt", 17)])
def test_killed_between_steps_and_continued(tmp_path: Path, kind: str, fail_at: int) -> None:
    """The scorer fails in step 0, 3 or 5: before and after the one checkpoint, which is made after step 4."""
    whole = train(tmp_path / "whole", kind, Length())
    scorer = Length(fail_at)
    with pytest.raises(ConnectionError):
        train(tmp_path / "cut", kind, scorer)
    before = times(tmp_path / "cut")
    again = train(tmp_path / "cut", kind, scorer, resume=True)
    for name, tensor in whole.trainable_state().items():
        assert torch.equal(tensor, again.trainable_state()[name]), name
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")
    assert scorer.asked == 6 * 3  # every record of every step once
    after = times(tmp_path / "cut")
    assert {path: after[path] for path in before} == before
    assert len(after) == 2 * 6


def test_a_step_is_a_function_of_seed_and_step_and_the_policy(tmp_path: Path) -> None:
    policy = tiny.policy(MECHANISMS["heads"](), shaken=0.2)

    def drawn(folder: str, step: int, seed: int = 0) -> list[Group]:
        source = OnPolicySource(
            policy,
            PROMPTS,
            Length(),
            tmp_path / folder,
            ask,
            view(policy),
            prompts_per_step=3,
            decoding=SHORT,
            seed=seed,
        )
        return source.batch(step)

    assert drawn("a", 2) == drawn("b", 2)
    assert drawn("a", 2) != drawn("a", 3)
    assert drawn("a", 2) != drawn("c", 2, seed=1)
    # kept on the disk: not even another policy draws it again
    texts = [group.responses for group in drawn("a", 2)]
    tiny.shake(policy, 0.5)
    assert [group.responses for group in drawn("a", 2)] == texts
    assert [group.responses for group in drawn("d", 2)] != texts


def test_every_prompt_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    policy = tiny.policy(MECHANISMS["heads"]())
    source = OnPolicySource(
        policy, PROMPTS, Length(), tmp_path, ask, view(policy), prompts_per_step=2, replies_per_prompt=1, decoding=SHORT
    )
    seen = [group.id for step in range(5) for group in source.batch(step)]
    assert sorted(seen[:5]) == sorted(seen[5:]) == ["0", "1", "2", "3", "4"]


def test_dropout_is_off_while_replies_are_drawn_and_on_again_after(tmp_path: Path) -> None:
    policy = tiny.policy(NoSteering(shared_rank=2), attention_dropout=0.5)
    plain = OnPolicySource(
        policy, PROMPTS, Length(), tmp_path / "a", lambda rng: None, view(policy), decoding=SHORT
    ).batch(0)
    policy.model.train()
    again = OnPolicySource(
        policy, PROMPTS, Length(), tmp_path / "b", lambda rng: None, view(policy), decoding=SHORT
    ).batch(0)
    assert policy.model.training
    assert plain == again


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 5}, "seed: 4 then, 5 now"), ({"prompts_per_step": 2}, "sizes"), ({"replies_per_prompt": 3}, "sizes"),
     ({"decoding": Decoding(max_new_tokens=4)}, "decoding")],
)  # fmt: skip
def test_a_resume_with_other_settings_names_them(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConnectionError):
        train(tmp_path / "run", "heads", Length(fail_at=16))
    with pytest.raises(RunError, match=named):
        train(tmp_path / "run", "heads", Length(), resume=True, **changes)


def test_settings_act_or_raise(tmp_path: Path) -> None:
    policy = tiny.policy(MECHANISMS["heads"]())
    with pytest.raises(DataError, match="no prompts to answer"):
        OnPolicySource(policy, [], Length(), tmp_path, ask, view(policy))
    with pytest.raises(ConfigError, match="at least 1 prompt and 1 reply"):
        OnPolicySource(policy, PROMPTS, Length(), tmp_path, ask, view(policy), replies_per_prompt=0)


def test_the_loss_with_a_reference_sees_the_same_numbers_after_a_kill(tmp_path: Path) -> None:
    """A preference loss on live replies: its reference is computed batch by batch, whatever was computed before."""

    def pairs(records: Sequence[Record], step: int) -> list[Group]:
        from pluralign.data.group import Preference

        groups = [Group.of(r, r.responses, (r.responses[0].condition,), (Preference(0, 0, 1),)) for r in records]
        return [group for group in groups if group.responses[0] != group.responses[1]]

    def run_it(folder: Path, scorer: Length, resume: bool = False) -> Policy:
        policy = tiny.policy(MECHANISMS["heads"]())
        with Run(folder, resume=resume) as run:
            options = {"prompts_per_step": 4, "replies_per_prompt": 2, "decoding": Decoding(max_new_tokens=2)}
            source = OnPolicySource(policy, PROMPTS, scorer, folder / "rollouts", ask, pairs, **options)  # type: ignore[arg-type]
            fit(policy, source, DPO(), run.stage("fit"), dataclasses.replace(OPTIM, steps=8), checkpoint_every=3)
        return policy

    whole = run_it(tmp_path / "whole", Length())
    scorer = Length(fail_at=22)
    with pytest.raises(ConnectionError):
        run_it(tmp_path / "cut", scorer)
    again = run_it(tmp_path / "cut", scorer, resume=True)
    for name, tensor in whole.trainable_state().items():
        assert torch.equal(tensor, again.trainable_state()[name])
    assert logged(tmp_path / "whole") == logged(tmp_path / "cut")


# -- log-ratios --------------------------------------------------------------------------------------------------------

RATIO_MECHANISMS = {
    **MECHANISMS,
    "mixture": lambda: MixtureSteering(where="attention", rank=2),
    "none": lambda: NoSteering(shared_rank=2),
}


@pytest.mark.parametrize("kind", list(RATIO_MECHANISMS))
def test_log_ratios_are_differences_of_log_probabilities(kind: str) -> None:
    base = tiny.policy(RATIO_MECHANISMS[kind]())  # untrained, with the same vocabulary
    policy = tiny.policy(RATIO_MECHANISMS[kind]())
    policy.keep_reference()
    tiny.shake(policy, 0.2)
    policy.bounds = Bounds(allow_extrapolation=True)
    even = Weights({"kind": 0.5, "brief": 0.5})
    conditions: list[Any] = [None, one_hot("kind"), even, dataclasses.replace(even, strength=1.5)]
    conditions = [None] * 4 if kind == "none" else conditions
    texts = ["good joke", "very very long", "", "kind"]
    records = [
        Record(user(prompt), tuple(Response(text, condition=c) for text in texts), id=prompt)
        for prompt, c in zip(("a joke", "now", "please tell me", "a"), conditions, strict=True)
    ]
    found = log_ratios(policy, records)
    for record, values in zip(records, found, strict=True):
        asked = [record.messages] * len(texts)
        own = policy.logprobs(asked, texts, [reply.condition for reply in record.responses])
        expected = own - base.logprobs(asked, texts)
        np.testing.assert_allclose(values, expected.tolist(), atol=2e-4)
    assert max(abs(value) for values in found for value in values) > 0.1


def test_log_ratios_of_a_reply_that_was_cut_off_leave_out_its_end_token() -> None:
    policy = tiny.policy(MECHANISMS["heads"](), shaken=0.2)
    (values,) = log_ratios(policy, [Record(user("joke"), tuple(Response("good", condition=one_hot("kind"), finished=f) for f in (True, False)))])  # fmt: skip
    prompt, ids = policy.encoder.pair(user("joke"), "good", False)  # type: ignore[misc]
    logits = tiny.steered_logits(policy, torch.tensor([prompt]), policy.coefficients([one_hot("kind")]))[0, -1]
    plain = tiny.steered_logits(policy, torch.tensor([prompt]), policy.reference_coefficients(1))[0, -1]
    expected = logits.log_softmax(-1)[ids[0]] - plain.log_softmax(-1)[ids[0]]
    assert values[1] == pytest.approx(float(expected), abs=1e-5)
    assert values[0] != pytest.approx(values[1], abs=1e-3)


def test_what_does_not_fit_or_has_no_token_has_no_log_ratio() -> None:
    policy = tiny.policy(MECHANISMS["heads"](), shaken=0.2)
    policy.encoder.max_length = 8
    replies = (Response("good"), Response("good " * 20), Response("", finished=False), Response(""))
    (values,) = log_ratios(policy, [Record(user("a joke"), replies)])
    assert [math.isnan(value) for value in values] == [False, True, True, False]
    assert log_ratios(policy, [Record(user("a joke"))]) == [[]]
