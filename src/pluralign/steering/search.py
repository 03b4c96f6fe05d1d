"""Search: nothing is trained; the base answers several times, a scorer judges, and the asked weights choose.

    y = argmax over candidates of Σ_k λ_k s_k(y) / σ_k                                     asked for weights
    y = argmin over candidates of Σ_k ((s_k(y) − t_k) / σ_k)²                              asked for target scores

σ_k is what one point of objective k is worth: the spread of its scores over replies of the base (`spreads`), or the
width of its range. Best-of-n (methods.md A19) draws `num` whole replies; with `every` it is Darwin (arXiv 2406.15193; A21):
after so many tokens the best `keep` partial replies go on, the others make way for copies of them, and some are answers to
rewritten instructions. `sampling/search.py` runs it: a search is no distribution over next tokens, so that such a policy
has no log-probabilities, no single weights, and cannot be decoded row by row. Asked for nothing it is its base.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from math import log
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.data.condition import Condition, Targets, Weights, vector
from pluralign.data.evidence import direction_signs
from pluralign.data.objective import Objective, names
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.steering.contract import DeltaSteering, reference_coefficients
from pluralign.steering.surgery import DeltaSpec, install

Floats = NDArray[np.float64]


@dataclass
class SearchSteering(DeltaSteering):
    """The base, and how its replies are searched."""

    kind: ClassVar[str] = "search"
    accepts: ClassVar[tuple[type, ...]] = (Weights, Targets)
    judge: ClassVar[Any] = None  # the instance's own once given: a Scorer, opened by whoever opened the policy

    num: int = 16
    """candidates of each reply (n; Darwin's population, of 6)"""
    every: int = 0
    """tokens between two selections (Darwin: 40); 0 selects once, at the end: best-of-n"""
    keep: int = 0
    """candidates that survive a selection (Darwin: 2); 0 without selections"""
    mutations: int = 0
    """rewritten instructions that candidates answer in turn, beside the original (Darwin: 3); needs a model that follows instructions"""
    scorer: str = ""
    """who judges the candidates, as --scorer names it; kept with the policy, so that it can be opened again"""
    spreads: tuple[float, ...] = ()
    """deviation of each objective's scores over replies of the base; none: the method measures them, or they are the ranges"""

    def __post_init__(self) -> None:
        self.spreads = tuple(self.spreads)
        if self.num < 2:
            raise ConfigError(f"a search needs at least 2 candidates, got num {self.num}")
        if self.every < 0 or not 0 <= self.mutations < self.num:
            raise ConfigError(
                f"every counts tokens from 0, and mutations are 0 to num - 1, got {self.every} and {self.mutations}"
            )
        if not (0 < self.keep < self.num if self.every else self.keep == 0):
            raise ConfigError(
                f"keep is 1 to num - 1 with selections (every > 0) and 0 without, got keep {self.keep}, every {self.every}"
            )
        if any(not 0 < spread < float("inf") for spread in self.spreads):
            raise ConfigError(f"spreads are finite numbers above 0, got {self.spreads}")

    @property
    def reference_inside(self) -> bool:
        """Always: the model is the base."""
        return True

    @property
    def kl_bound(self) -> float:
        """log n − (n − 1)/n nats, the most that best-of-n is away from its base (exact for scores without ties);
        infinite where nothing is known (selections and rewritten instructions)."""
        return float("inf") if self.every or self.mutations else log(self.num) - (self.num - 1) / self.num

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Nothing to add: every weight is frozen."""
        self._objectives = tuple(objectives)
        if self.spreads and len(self.spreads) != len(objectives):
            raise ConfigError(f"{len(self.spreads)} spreads for {len(objectives)} objectives")
        self._state = install(  # type: ignore[misc]
            model, DeltaSpec(), self.expand, self.num_changes(objectives) + 2
        )

    def choose_by(self, judge: Any, name: str = "") -> None:
        """Give it the scorer (records in, records with scores out) and the name that opens it again (none: as before)."""
        self.judge = judge  # type: ignore[misc]
        self.scorer = name or self.scorer

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights | Targets:
        """Weights and targets as they are. ConditionError for words, and for a strength: a ranking has none."""
        if not isinstance(condition, Weights | Targets):
            example = ",".join(f"{name}={1 / len(objectives):.2g}" for name in names(objectives))
            raise ConditionError(f"this policy ranks by scores: ask for weights, e.g. '{example}', not for {condition}")
        if condition.strength != 1.0:
            raise ConditionError(
                f"{condition}: a strength does not change which of {self.num} replies is best; leave it out, and set "
                "the number of candidates (steering.num) for more or less of it"
            )
        return condition

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """The base alone. ModelError for a condition, which only a search answers."""
        if condition is not None:
            raise ModelError(
                f"this policy answers '{condition}' by search among {self.num} replies, not row by row: it has no "
                "log-probabilities and no server can decode it; use sample or evaluate"
            )
        return [(None, 1.0)]

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError for a condition: a search is in no model's weights."""
        self.members(condition)

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2] of the base; ModelError for a condition."""
        for condition in conditions:
            self.members(condition)
        return reference_coefficients(len(conditions), self.num_changes(objectives))

    def expand(self, steer: Tensor) -> Tensor:
        """Always raises: no parameter is steered."""
        raise ConditionError("this policy answers by search and has no steer=; use sample or evaluate")

    def value(self, scores: Floats, condition: Condition) -> Floats:
        """What each candidate is worth [n] by its scores [n, K]; NaN where an asked objective is not scored."""
        unit = np.array(self.spreads or [objective.high - objective.low for objective in self._objectives])
        if isinstance(condition, Targets):
            places = [names(self._objectives).index(name) for name in condition.values]
            wanted = np.array(list(condition.values.values()))
            return np.asarray(-(((scores[:, places] - wanted) / unit[places]) ** 2).sum(1))
        assert isinstance(condition, Weights), "translate first"
        weights = vector(condition, self._objectives)
        asked = weights != 0
        return np.asarray((scores / unit * direction_signs(self._objectives))[:, asked] @ weights[asked])

    def trunk_columns(self) -> list[int]:
        """None: nothing acts on the trunk."""
        return []

    def cache_key(self, condition: Condition | None) -> Hashable:
        """Constant: every candidate is the base's."""
        return None

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
