"""Plural SFT: a start at which the heads of a plural policy already differ.

    L = − log π_θ(y|x, λ) / |y|,   λ one-hot on an objective that the reply y exemplifies

Source: the CMPO thesis, future work (Manyika 2024; methods.md A1, variant iv).
"""

from __future__ import annotations

from dataclasses import replace

from pluralign.data.conversions.imitation import exemplified
from pluralign.errors import ConfigError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import TrainingData
from pluralign.policy import Policy
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


def plural_start(policy: Policy, data: TrainingData, run: Run, optim: Optim, steps: int) -> None:
    """Fit so many steps in place; none leaves the policy alone. Raises DataError where no reply exemplifies anything."""
    if steps < 0:
        raise ConfigError(f"plural_sft is a number of steps from 0, got {steps}")
    if steps:
        groups = [group for record in data.train for group in exemplified(record, data.objectives)]
        source = GroupSource(groups, optim.batch_size, run.seed)
        fit(policy, source, SFT(), run.stage("plural-sft"), replace(optim, steps=steps))
