"""Rounds: a policy answers, somebody judges, the policy learns; again (ALT, Quark, CMPO).

Every round is two stages of a run: `pool-N`, replies drawn and judged once and kept on the disk, and `fit-N`. A run that
was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace

import numpy as np

from pluralign.data.condition import Condition
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.scorers.contract import Scorer
from pluralign.training.optim import Optim
from pluralign.training.run import Run, Stage

OFFLINE = "fit-0"  # the stage that learns from the data's own replies
Ask = Callable[[np.random.Generator], Condition | None]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """How many, how large, and what is kept of the earlier ones."""

    num: int = 10
    """rounds of sampling (ALT: 10 on summaries, 16 on toxicity, 20 on dialogue); 0 learns from the data's replies alone"""
    prompts: int = 2048
    """prompts of a round, drawn with replacement"""
    replies: int = 96
    """replies to each (ALT: 96 on summaries, 20 on dialogue)"""
    drop: float = 1.0
    """share of the pool that is dropped before a round's replies join it (ALT: 1 on summaries and dialogue, 0 on toxicity; Quark: 0)"""
    from_data: bool = False
    """learn from the data's own replies first; else the first round draws from the base, without feedback (papers)"""
    decoding: Decoding = field(default_factory=Decoding)
    """how replies are drawn (ALT: 64 new tokens at temperature .9 and top_p .9 on summaries, 256 at 1 and .9 on dialogue)"""

    def __post_init__(self) -> None:
        if self.num < 0 or min(self.prompts, self.replies) < 1:
            raise ConfigError(f"rounds are 0 or more, of at least 1 prompt and 1 reply, got {self}")
        if not 0 <= self.drop <= 1:
            raise ConfigError(f"drop is a share from 0 to 1, got {self.drop}")
        if not self.num and not self.from_data:
            raise ConfigError(
                "without rounds there are only the data's replies to learn from: set from_data, or num above 0"
            )

    def run(
        self,
        policy: Policy,
        run: Run,
        data: Sequence[Record],
        questions: Sequence[Record],
        judge: Scorer | None,
        ask: Ask,
        learn: Callable[[list[Record], Stage], None],
    ) -> None:
        """`learn` from the data (where asked) and then from the pool of every round, whose replies `ask` asks for."""
        pool: list[Record] = list(data) if self.from_data else []
        if pool:
            learn(pool, run.stage(OFFLINE))
        for number in range(1, self.num + 1):
            stage = run.stage(f"pool-{number}")
            rng = np.random.default_rng(stage.seed)
            places = rng.integers(len(questions), size=self.prompts).repeat(self.replies)
            first = number == 1 and not self.from_data
            conditions = [None if first else ask(rng) for _ in places]
            asked = [questions[int(place)] for place in places]
            drawn = rollout(stage.folder, policy, asked, conditions, judge, 1, stage.seed, self.decoding)
            pool = [*self._kept(pool, rng), *drawn]
            learn(pool, run.stage(f"fit-{number}"))

    def _kept(self, pool: Sequence[Record], rng: np.random.Generator) -> list[Record]:
        """Each reply stays with probability 1 − drop, whatever its feedback."""
        if self.drop in (0, 1):
            return [] if self.drop else list(pool)
        return [
            replace(record, responses=tuple(reply for reply in record.responses if rng.random() >= self.drop))
            for record in pool
        ]


@dataclass(frozen=True, kw_only=True)
class JoinedRounds(Rounds):
    """Rounds whose replies join those of the data, and are compared with them."""

    num: int = 0
    """rounds of sampling; 0 learns from the data's replies alone"""
    prompts: int = 750
    """prompts of a round, drawn with replacement"""
    replies: int = 4
    """replies to each, every one asked for another trade-off"""
    drop: float = 0.0
    """share of the pool that is dropped before a round's replies join it"""
    from_data: bool = True
    """learn from the data's own replies first"""
    optim: Optim = field(default_factory=lambda: Optim(steps=150, lr=3e-4, head_lr=5e-3, weight_decay=0.5))
    """the optimisation of every round, after that of the data"""

    def __post_init__(self) -> None:
        super().__post_init__()
        idle = () if self.num else tuple(each.name for each in fields(self) if not self._is_default(each))
        if idle:
            raise ConfigError(f"without rounds {', '.join(idle)} cannot act: set num above 0, or leave that alone")

    def _is_default(self, each: Field[object]) -> bool:
        """Whether a setting is as it was born; a trial may shorten the optimisation (`steps`) of rounds there are none of."""
        value = getattr(self, each.name)
        born = each.default if each.default_factory is MISSING else each.default_factory()
        return bool((replace(value, steps=born.steps) if isinstance(born, Optim) else value) == born)
