"""Fronts: one model per weight, each trained alone from the same base and the same start, kept as the changes of one
policy (`steering/front.py`). What several per-weight methods share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from pluralign.data.condition import Weights
from pluralign.data.objective import Objective
from pluralign.errors import ConfigError
from pluralign.policy import Policy
from pluralign.steering.front import FrontSteering

NUM_PAIRS = 2
Point = tuple[float, ...]


def default_points(num_objectives: int, num_pairs: int = NUM_PAIRS) -> tuple[Point, ...]:
    """Each objective alone, all of them evenly, and the pairs (1st, 2nd), (3rd, 4th) ... at .5 each, `num_pairs` at most."""
    alone = np.eye(num_objectives)
    pairs = [alone[[first, first + 1]].mean(0) for first in range(0, min(2 * num_pairs, num_objectives - 1), 2)]
    rows = [*alone, np.full(num_objectives, 1 / num_objectives), *pairs]
    return tuple(dict.fromkeys(tuple(map(float, row)) for row in rows))


def with_points(steering: FrontSteering, objectives: Sequence[Objective]) -> FrontSteering:
    """The steering with the default points where it has none. ConfigError for an adapter that all points would train."""
    if steering.shared_where is not None:
        raise ConfigError("models of a front share the base and nothing else; leave steering.shared_where at none")
    return dataclasses.replace(steering, points=steering.points or default_points(len(objectives)))


def equal_start(policy: Policy) -> dict[str, Tensor]:
    """Give every point the first one's initial values, so that they differ by their weights alone; the state."""
    state = {name: tensor[:1].expand_as(tensor).clone() for name, tensor in policy.steering_state().items()}
    policy.load_steering_state(state)
    return state


def train_points(policy: Policy, start: Mapping[str, Tensor], train: Callable[[Weights, str], None]) -> Policy:
    """Call `train(weights, name)` for every point with the policy as it was at the start, and keep what it did to the
    point's own change (weight decay moves the others, which have no gradient). `name`, "point-3", is for stages."""
    steering = policy.steering
    assert isinstance(steering, FrontSteering), "the method's own steering"
    trained = {name: tensor.clone() for name, tensor in start.items()}
    for place, weights in enumerate(steering.trained(policy.objectives)):
        policy.load_steering_state(dict(start))
        train(weights, f"point-{place}")
        for name, tensor in policy.steering_state().items():
            trained[name][place] = tensor[place]
    policy.load_steering_state(trained)
    return policy
