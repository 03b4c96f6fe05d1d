"""Quark: tokens for quantiles, an accumulating pool, exploration under the best token, the reverse KL."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import made_up
from pluralign.data import jsonl
from pluralign.data.condition import Feedback, Weights, one_hot
from pluralign.data.record import Record, user
from pluralign.errors import ConfigError
from pluralign.losses.conditional import Conditional
from pluralign.methods.contract import TrainingData
from pluralign.methods.quark import Quark
from pluralign.methods.steps.rounds import Rounds
from pluralign.methods.steps.wording import Wording
from pluralign.policy import Policy
from pluralign.recipes import quark as recipes
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.quantiles import PromptQuantiles
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = made_up.OBJECTIVES
ROUNDS = Rounds(num=2, prompts=12, replies=1, drop=0.0, decoding=Decoding(max_new_tokens=8))
SHORT = Optim(steps=3, batch_size=8, lr=3e-3, warmup=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.words_model(tmp_path_factory.mktemp("base") / "model")


def small(**settings: object) -> Quark:
    steering = PromptQuantiles(shared_where=None, num=3)
    return replace(Quark(optim=SHORT, rounds=ROUNDS, steering=steering), **settings)  # type: ignore[arg-type]


def train(method: Quark, base: Path, folder: Path) -> Policy:
    policy = Policy.from_base(base, method.new_steering(OBJECTIVES), OBJECTIVES)
    with Run(folder) as run:
        return method.train(policy, TrainingData(made_up.scored(3), OBJECTIVES, scorer=made_up.Rule()), run)


def drawn(folder: Path, number: int) -> list[object]:
    pool = jsonl.read(folder / "stages" / f"pool-{number}" / "scored.jsonl")
    return [reply.condition for record in pool for reply in record.responses]


def test_rounds_explore_under_the_best_token(base: Path, tmp_path: Path) -> None:
    policy = train(small(), base, tmp_path / "run")
    assert drawn(tmp_path / "run", 1) == [None] * 12  # of the base, unasked
    best = {Feedback("<|kind-1|>"), Feedback("<|brief-1|>")}
    assert set(drawn(tmp_path / "run", 2)) == best
    assert '"kl"' in (tmp_path / "run" / "metrics.jsonl").read_text()
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    asked = [one_hot("kind"), Weights({"kind": 0.5, "brief": 0.5}), Feedback("brief-3")]
    args = ([user("tell me a joke")] * 3, ["nice", "good and nice", "very long"], asked)
    torch.testing.assert_close(policy.logprobs(*args), again.logprobs(*args), atol=0, rtol=0)


def test_one_reward_is_the_paper(base: Path, tmp_path: Path) -> None:
    wording = Wording(kind="overall", scope="global", each=None, unasked=0.0)
    policy = train(small(wording=wording), base, tmp_path / "run")
    assert set(drawn(tmp_path / "run", 2)) == {Feedback("<|reward-1|>")}
    assert set(policy.steering.phrases) <= {"<|reward-1|>", "<|reward-2|>", "<|reward-3|>"}  # type: ignore[attr-defined]
    assert policy.steering.translate(one_hot("kind"), OBJECTIVES).text == "<|reward-1|>"  # type: ignore[union-attr]


def test_quantiles_are_of_the_whole_pool() -> None:
    """20 replies on two prompts, all of the better ones on one: its words are the better ones (per prompt: all words)."""
    records = [made_up.scored(1, 10, seed)[0] for seed in (0, 1)]
    scored = [
        replace(
            record,
            messages=user(f"question {n}"),
            responses=tuple(
                replace(r, scores={"kind": float(n * 2 + i / 10), "brief": 1.0}) for i, r in enumerate(record.responses)
            ),
        )
        for n, record in enumerate(records)
    ]
    kind = OBJECTIVES[:1]

    def said(records: list[Record], scope: str, prompt: str) -> Counter[str]:
        steering = PromptQuantiles(num=2)
        groups = Wording(scope=scope, each=None, unasked=0.0).read(records, kind, steering, 0)  # type: ignore[arg-type]
        return Counter(g.conditions[0].text for g in groups if g.messages == user(prompt))  # type: ignore[union-attr]

    assert said(scored, "global", "question 1") == {"<|kind-1|>": 10}
    assert said(scored, "global", "question 0") == {"<|kind-2|>": 10}
    assert said(scored, "prompt", "question 0") == {"<|kind-1|>": 5, "<|kind-2|>": 5}


def test_settings_act_or_raise(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quark reads scores"):
        Quark(wording=Wording(kind="comments"))
    method = small()
    policy = Policy.from_base(base, method.new_steering(OBJECTIVES), OBJECTIVES)
    with Run(tmp_path / "run") as run, pytest.raises(ConfigError, match="quark lets the policy answer"):
        method.train(policy, TrainingData(made_up.scored(3), OBJECTIVES), run)


def test_the_papers_numbers() -> None:
    """A15: K = 5, c_KL .05, c_H .06, reverse, lr 1e-5, batch 128, warm-up 500, a round every 500 steps, nothing dropped."""
    paper = recipes.paper()
    assert (paper.steering.num, paper.loss) == (5, Conditional(0.05, 0.06, "reverse"))
    assert (paper.optim.lr, paper.optim.batch_size, paper.optim.steps) == (1e-5, 128, 500)
    assert (paper.rounds.drop, paper.wording.scope, paper.wording.unasked) == (0.0, "global", 0.0)
