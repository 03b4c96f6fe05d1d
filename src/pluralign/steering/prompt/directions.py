"""Prompt steering by a direction: "helpful 71, funny -71" before the dialogue (directional preference alignment).

    v = w / ‖w‖₂        written as the whole numbers 100 v_i (or `whole` · v_i)

A trade-off is a direction in the space of rewards; components may be negative where the policy's bounds allow it (less
of something). With an `axis`, only directions within `angle` degrees of that objective's may be asked for: the cone
that the model was trained on, since outside it nothing was learnt.

Source: H. Wang et al. 2024, arXiv 2402.18571 (methods.md A13). The paper's words are "maximize weighted rating =
helpfulness*71 + verbosity*71".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, degrees, pi, radians, sin
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import Bounds, Condition, Weights, from_vector, vector
from pluralign.data.evidence import Array
from pluralign.data.objective import Objective, known, names
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.text import TextSteering

SLACK = 0.5
"""Degrees by which a direction may lie outside the cone: people round."""


@dataclass
class PromptDirections(TextSteering):
    """A unit vector written into the prompt; a strength is guidance."""

    kind: ClassVar[str] = "prompt_directions"
    accepts: ClassVar[tuple[type, ...]] = (Weights,)

    form: Literal["named", "paper"] = "named"
    """named: "helpful 71, funny -71"; paper: "maximize weighted rating = helpful*71 + funny*-71" """
    whole: int = 100
    """the number that a component of 1 is written as (paper: 100); 9 gives one digit, which small models learn sooner"""
    padded: bool = False
    """write as many digits as the whole has, 071 for 71, and with an axis the sign: then all numbers have one width, and stand at the same places (small models bind by place)"""
    axis: str = ""
    """objective in the middle of the cone (paper: helpfulness); empty: all directions without negative components"""
    angle: float = 45.0
    """half the cone's width around the axis, degrees (paper: 45)"""

    def __post_init__(self) -> None:
        if self.form not in ("named", "paper"):
            raise ConfigError(f"form is named or paper, got {self.form!r}")
        if self.whole < 1:
            raise ConfigError(f"whole is at least 1, got {self.whole}")
        if not 0 < self.angle <= 180:
            raise ConfigError(f"angle is above 0 and at most 180 degrees, got {self.angle}")

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights of length 1, the strength kept; ConditionError for other kinds, weights of 0, and outside the cone."""
        if not isinstance(condition, Weights):
            raise ConditionError(
                f"this policy reads a direction, e.g. '{objectives[0].name}=1', not {condition}; target scores have none"
            )
        direction = vector(replace(condition, strength=1.0), objectives)
        length = float(np.linalg.norm(direction))
        if not length:
            raise ConditionError("weights that are all 0 have no direction; give at least one")
        self._check_cone(direction / length, condition, objectives)
        return replace(from_vector(direction / length, objectives), strength=condition.strength)

    def _check_cone(self, direction: Array, condition: Condition, objectives: Sequence[Objective]) -> None:
        if not self.axis:
            return
        known([self.axis], objectives)
        away = degrees(float(np.arccos(np.clip(direction[names(objectives).index(self.axis)], -1.0, 1.0))))
        if away > self.angle + SLACK:
            raise ConditionError(
                f"{condition} points {away:.0f} degrees away from {self.axis}, and the model was trained within "
                f"{self.angle:g}; give {self.axis} more weight"
            )

    def words(self, condition: Condition) -> str:
        """Every objective's component in parts of the whole, in the policy's order."""
        assert isinstance(condition, Weights), "translate first"
        parts = (self.whole * vector(replace(condition, strength=1.0), self._objectives)).round().astype(int).tolist()
        digits = len(str(self.whole))
        width = "" if not self.padded else f"+0{digits + 1}d" if self.axis else f"0{digits}d"
        pairs = [(name, f"{part:{width}}") for name, part in zip(names(self._objectives), parts, strict=True)]
        if self.form == "paper":
            return "maximize weighted rating = " + " + ".join(f"{name}*{part}" for name, part in pairs)
        return ", ".join(f"{name} {part}" for name, part in pairs)

    def draw(self, rng: np.random.Generator, objectives: Sequence[Objective]) -> Weights:
        """A direction to train under: uniform in its angle from the axis, or drawn weights (on the simplex).

        Components of a safety objective are never negative.
        """
        if not self.axis:
            return from_vector(simplex.draw(rng, 1, len(objectives))[0], objectives)
        known([self.axis], objectives)
        place = names(objectives).index(self.axis)
        aside = rng.standard_normal(len(objectives))
        aside[place] = 0.0
        aside /= max(float(np.linalg.norm(aside)), 1e-12)
        turn = radians(rng.uniform(0.0, self.angle))
        direction = sin(turn) * aside + cos(turn) * np.eye(len(objectives))[place]
        safe = np.array([each.safety for each in objectives])
        return from_vector(np.where(safe, np.abs(direction), direction), objectives)

    def bounds(self, objectives: Sequence[Objective]) -> Bounds:
        """What may be asked for: weights on the simplex, or the cone's components (none negative for safety)."""
        if not self.axis:
            return Bounds()
        reach = 1.0 if self.angle >= 90 else sin(radians(self.angle))
        lowest = cos(min(radians(self.angle), pi))
        ranges = {
            each.name: (0.0 if each.safety else min(0.0, lowest) if each.name == self.axis else -reach, 1.0)
            for each in objectives
        }
        return Bounds(ranges, simplex=False)
