"""Front steering: one model per trade-off, all of them changes of one base; asked for a trade-off, its model answers.

    W(w) = W_0 + s ΔW_p,   p the point with w_p = w                      (s the strength, 1 as trained)

What methods leave behind that train for fixed weights (MODPO, MORLHF): a set of policies, one per weight, in one
model. Only the weights that were trained can be asked for; between them there is no model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.data.condition import Condition, Weights, from_vector, vector
from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.weighted import WeightedSteering

log = logging.getLogger("pluralign")
TOLERANCE = 1e-2
"""Weights that are this near a point's, in every objective, are the point's: people round to two decimals."""


@dataclass
class FrontSteering(WeightedSteering):
    """A change for each of the `points`, which are weights in the order of the objectives."""

    kind: ClassVar[str] = "front"

    points: tuple[tuple[float, ...], ...] = ()
    """the weights that have a model, one number per objective; a method fills in its own where none are given"""
    nearest: bool = False
    """answer weights that were not trained with the nearest model (and say so); otherwise they are refused"""

    def __post_init__(self) -> None:
        self.points = tuple(tuple(float(number) for number in point) for point in self.points)
        self._said: set[str] = set()

    def num_changes(self, objectives: Sequence[Objective]) -> int:
        """One per point."""
        return len(self.points)

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Replace the chosen layers. Raises ConfigError without points, for two alike, and for wrong ones."""
        if not self.points or any(len(p) != len(objectives) or not np.isfinite(p).all() for p in self.points):
            raise ConfigError(
                f"a front needs points of {len(objectives)} weights each, such as {tuple(np.eye(len(objectives))[0].tolist())}; "
                f"got {self.points}"
            )
        for first, second in combinations(self.points, 2):
            if np.abs(np.subtract(first, second)).max() <= TOLERANCE:
                raise ConfigError(f"two points of the front are alike: {first} and {second}; give each weight once")
        super().attach(model, encoder, objectives)

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """The weights of the point that answers, with the asked strength. ConditionError where there is none."""
        asked = super().translate(condition, objectives)
        place = self._place(asked, objectives)
        trained = self.trained(objectives)[place]
        return Weights(trained.values, asked.strength)

    def trained(self, objectives: Sequence[Objective]) -> list[Weights]:
        """The weights that have a model, as conditions."""
        return [from_vector(point, objectives) for point in self.points]

    def amounts(self, weights: Weights, objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """All of the point's change, times the strength, and none of the others' [D]."""
        amounts = np.zeros(len(self.points))
        amounts[self._place(weights, objectives)] = weights.strength
        return amounts

    def expand(self, steer: Tensor) -> Tensor:
        """Weights [R, K] of points -> coefficients [R, C]; coefficients pass through (also where K = C)."""
        num = len(self._objectives)
        if steer.dim() != 2 or steer.shape[1] not in (num, len(self.points) + 2):
            raise ConditionError(f"steer= takes weights [rows, {num}] of the front, got shape {list(steer.shape)}")
        if steer.shape[1] == len(self.points) + 2:
            return steer
        asked = [from_vector(row, self._objectives) for row in steer.tolist()]
        return self.coefficients(asked, self._objectives).to(steer.device)

    def _place(self, asked: Weights, objectives: Sequence[Objective]) -> int:
        values = vector(Weights(asked.values), objectives)
        distance = np.abs(np.array(self.points) - values)
        place = int(distance.max(1).argmin())
        if distance[place].max() <= TOLERANCE:
            return place
        if not self.nearest:
            raise ConditionError(
                f"no model was trained for {Weights(asked.values)}; trained are: "
                f"{'; '.join(_written(point, objectives) for point in self.points)} "
                "(steering.nearest lets the nearest of them answer)"
            )
        place = int((distance**2).sum(1).argmin())
        self._say(Weights(asked.values), _written(self.points[place], objectives))
        return place

    def _say(self, asked: Weights, nearest: str) -> None:
        if str(asked) not in self._said:
            self._said.add(str(asked))
            log.warning("no model was trained for %s; the nearest one answers, trained for %s", asked, nearest)

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {**super().config(), "points": [list(point) for point in self.points]}


def _written(point: Sequence[float], objectives: Sequence[Objective]) -> str:
    """A point as people may type it: three decimals, the largest weight taking what rounding left over."""
    short = [round(number, 3) for number in point]
    largest = int(np.argmax(np.abs(short)))
    short[largest] = round(short[largest] + sum(point) - sum(short), 3)
    return str(from_vector(short, objectives))
