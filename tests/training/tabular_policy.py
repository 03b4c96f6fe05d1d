"""A tabular policy: every prompt has the same few one-token responses, so everything about it is known exactly.

log π(y|x, λ) = log_softmax(reference[x] + trunk[x] + Σ_j λ_j heads[j, x])[y]      (methods.md F)

Also a program, for tests that end it: `python tabular_policy.py FOLDER STEPS STAGE STEP [--resume]` trains one and stops
itself (SIGSTOP) at the beginning of that step of that stage.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pluralign.data.condition import Condition, Weights, vector
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, Response, user
from pluralign.losses.dpo import CDPO
from pluralign.losses.outputs import Loss, Outputs, total
from pluralign.losses.regression import Regression
from pluralign.storage import fingerprint
from pluralign.training.batching import Batch
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource, Source
from pluralign.training.tradeoff import TradeOffSource

GOLDEN_REFERENCE = (0.4, 0.3, 0.2, 0.1)
GOLDEN_REWARDS = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.8, 0.7))


class TabularEncoder:
    """Prompt "p3" is token 3, response "y2" is token num_prompts + 2; a response "long" does not fit."""

    def __init__(self, num_prompts: int) -> None:
        self.num_prompts, self.calls = num_prompts, 0

    def pair(
        self, messages: Sequence[Message], response: str, finished: bool = True
    ) -> tuple[list[int], list[int]] | None:
        self.calls += 1
        if response == "long":
            return None
        words = " ".join(message.content for message in messages).split()
        prompt = [int(word[1:]) for word in words if word.startswith("p")]
        return prompt, [self.num_prompts + int(response[1:])]


class TabularSteering:
    reference_inside = True

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        return tuple(messages)


class TextSteering(TabularSteering):
    """Writes the condition into the prompt, like prompt steering."""

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        written = () if condition is None else (Message("system", f"[{condition}]"),)
        return (*written, *messages)


class TabularModel(nn.Module):
    def __init__(self, reference: Tensor, num_objectives: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("reference", reference)
        self.heads = nn.Parameter(torch.zeros(num_objectives, *reference.shape))
        self.trunk = nn.Parameter(torch.zeros_like(reference))
        self.dropout = nn.Dropout(dropout)

    def forward(self, prompts: Tensor, coefficients: Tensor) -> Tensor:
        """[R] prompts, [R, L, K] -> log-probabilities [R, L, Y]."""
        mixed = torch.einsum("rlk,kry->rly", coefficients, self.heads[:, prompts])
        return torch.log_softmax(
            self.reference[prompts][:, None] + self.dropout(mixed + self.trunk[prompts][:, None]), -1
        )


class TabularPolicy:
    def __init__(
        self,
        reference: Tensor,
        objectives: Sequence[Objective],
        dropout: float = 0.0,
        frozen_trunk: bool = True,
        steering: TabularSteering | None = None,
    ) -> None:
        self.objectives, self.steering = tuple(objectives), steering or TabularSteering()
        self.model = TabularModel(reference, len(self.objectives), dropout)
        self.model.trunk.requires_grad_(not frozen_trunk)
        self.encoder = TabularEncoder(len(reference))

    def probabilities(self, prompt: int, condition: Condition | None) -> list[float]:
        self.model.eval()
        with torch.no_grad():
            logprobs = self.model(torch.tensor([prompt]), self.coefficients([condition])[None])
        return logprobs.exp()[0, 0].tolist()

    def coefficients(self, conditions: Sequence[Condition | None]) -> Tensor:
        none = np.zeros(len(self.objectives))
        rows = [vector(c, self.objectives) if isinstance(c, Weights) else none for c in conditions]
        return torch.tensor(np.array(rows), dtype=torch.float32)

    def _tokens(self, batch: Batch) -> tuple[Tensor, Tensor]:
        responses = batch.input_ids.masked_select(batch.targets_mask) - self.encoder.num_prompts
        return batch.input_ids[:, 0], responses

    def outputs(self, batch: Batch) -> Outputs:
        prompts, responses = self._tokens(batch)
        logprobs = self.model(prompts, batch.coefficients)
        picked = logprobs.gather(2, responses[:, None, None].expand(-1, logprobs.shape[1], 1))[..., 0]
        return Outputs(picked, batch.reference, batch.lengths)

    def losses(self, batch: Batch, loss: Loss, scale: float = 1.0):
        return total(loss, self.outputs(batch), batch.judgements, scale)

    frozen_trunk = False

    def trunk_states(self, batch: Batch) -> Tensor:
        raise AssertionError("a table has no trunk")

    def reference_logprobs(self, batch: Batch) -> Tensor:
        prompts, responses = self._tokens(batch)
        return torch.log_softmax(self.model.reference[prompts], -1).gather(1, responses[:, None])[:, 0]

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        groups = {"heads": [self.model.heads], "trunk": [self.model.trunk]}
        return {name: [p for p in group if p.requires_grad] for name, group in groups.items()}

    def trainable_state(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def load_trainable_state(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(tensors[name])

    def fingerprint(self) -> str:
        return fingerprint(self.model.reference.tolist())


def golden_policy(**options) -> TabularPolicy:
    return TabularPolicy(torch.tensor([GOLDEN_REFERENCE]).log(), objectives(2), **options)


def objectives(num: int) -> tuple[Objective, ...]:
    return tuple(Objective(f"o{k}", low=-10, high=10) for k in range(num))


def random_records(num: int, num_objectives: int, num_responses: int, seed: int = 0) -> list[Record]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(num, num_responses, num_objectives)).round(2)
    return [
        Record(
            user(f"p{x}"),
            tuple(
                Response(f"y{y}", {f"o{k}": float(scores[x, y, k]) for k in range(num_objectives)})
                for y in range(num_responses)
            ),
        )
        for x in range(num)
    ]


def random_policy(num: int = 6, num_responses: int = 5, **options) -> TabularPolicy:
    generator = torch.Generator().manual_seed(1)
    return TabularPolicy(torch.randn(num, num_responses, generator=generator), objectives(3), **options)


def random_source(seed: int = 0, num: int = 6) -> TradeOffSource:
    return TradeOffSource(random_records(num, 3, 5), objectives(3), seed, responses_per_step=16, weights_per_step=3)


def random_groups(num: int = 12, num_responses: int = 5, seed: int = 3) -> list[Group]:
    rng = np.random.default_rng(seed)
    groups = []
    for x in range(num):
        chosen, rejected = rng.permutation(num_responses)[:2]
        weights = Weights({"o0": 0.5, "o1": 0.5}) if x % 2 else Weights({"o2": 1.0})
        texts = tuple(f"y{y}" for y in range(num_responses))
        groups.append(Group(user(f"p{x % 6}"), texts, (weights,), (Preference(0, int(chosen), int(rejected), 1.0),)))
    return groups


class StoppingSource:
    """Stops this process at the beginning of a step."""

    live = False

    def __init__(self, inner: Source, step: int) -> None:
        self.inner, self.step = inner, step
        self.texts, self.state, self.restore = inner.texts, inner.state, inner.restore

    def batch(self, step: int) -> list[Group]:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGSTOP)
        return self.inner.batch(step)


def train(folder: str, steps: int, resume: bool, stage: str = "", stop: int = -1) -> TabularPolicy:
    """Two stages with dropout, so that generators matter: preferences, then scores. `stop` in `stage`: see above."""
    policy = random_policy(dropout=0.3, frozen_trunk=False)
    optim = Optim(steps=steps, lr=0.01, head_lr=0.05, warmup=3)
    with Run(folder, seed=5, resume=resume) as run:
        sources = {"preferences": GroupSource(random_groups(), 5, run.seed), "scores": random_source()}
        if stage:
            sources[stage] = StoppingSource(sources[stage], stop)
        options = {"checkpoint_every": 4, "validate_every": 6, "dropout": True}
        fit(policy, sources["preferences"], CDPO(), run.stage("preferences"), optim, **options)
        fit(policy, sources["scores"], Regression(), run.stage("scores"), optim, random_groups(4), **options)
    return policy


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[1], int(sys.argv[2]), "--resume" in sys.argv, sys.argv[3], int(sys.argv[4]))
