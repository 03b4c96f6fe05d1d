"""The parts of the table: which rows each has, and which ratios are read from them, with their targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pluralign.bench.models import ONE_BILLION, S_128K, M, S, Shape
from pluralign.bench.tasks import CUDA, LONG, SHORT, Lengths
from pluralign.bench.timing import Row
from pluralign.bench.workbench import FULL, FULL_15, FULL_K16, LOW, LOW_15, LOW_K16, Workbench

TIMES = 7  # steps of a TRL user for a pair with seven weights


@dataclass(frozen=True, slots=True)
class RatioOf:
    """`key`: how many times `slow` takes as long as `fast`, `slow` being needed `times` times for the same work."""

    key: str
    slow: str
    fast: str
    times: int = 1
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> float | None:
        """The bound."""
        return self.at_most if self.at_least is None else self.at_least

    def met(self, value: float) -> bool | None:
        """Whether a value reaches its target (None: it has none)."""
        if self.target is None:
            return None
        return value >= self.target if self.at_least is not None else value <= self.target


AGAINST_TRL = (
    RatioOf("tuned_vs_shipped", "shipped", "tuned", at_least=3.5),
    RatioOf("dpo_vs_shipped", "shipped", "dpo", at_least=5),
    RatioOf("dpo_vs_tuned", "tuned", "dpo", at_least=1.5),
    RatioOf("cmpo_full_vs_shipped", "shipped", "cmpo_full", TIMES, at_least=20),
    RatioOf("cmpo_full_vs_tuned", "tuned", "cmpo_full", TIMES, at_least=6),
    RatioOf("cmpo_low_vs_shipped", "shipped", "cmpo_low", TIMES, at_least=30),
    RatioOf("cmpo_low_vs_tuned", "tuned", "cmpo_low", TIMES, at_least=9),
    RatioOf("lambda7_full", "cmpo_full", "dpo", at_most=2.0),
    RatioOf("lambda7_low", "cmpo_low", "dpo", at_most=1.35),
)
MORE_HEADS = (
    RatioOf("k_growth", "cmpo_full_k16", "cmpo_full", at_most=1.1),
    RatioOf("k_growth_low", "cmpo_low_k16", "cmpo_low", at_most=1.1),
)
GROUPS = (RatioOf("groups", "pairwise", "groups", at_least=2.5),)
FIFTEEN = (
    RatioOf("cmpo15_full_vs_tuned", "tuned", "cmpo15_full", 15),
    RatioOf("cmpo15_low_vs_tuned", "tuned", "cmpo15_low", 15, at_least=18),
)


@dataclass(frozen=True, slots=True)
class Part:
    """`name`, the `prefix` of its keys, what is trained on what, the rows and the ratios. `num`: pairs of a step."""

    name: str
    prefix: str
    about: str
    shape: Shape
    lengths: Lengths
    num: int
    rows: Callable[[Workbench], list[Row]]
    ratios: Sequence[RatioOf]


def _against_trl(bench: Workbench) -> list[Row]:
    return [
        *bench.trl(),
        bench.dpo(),
        bench.cmpo("cmpo_full", "pluralign, CMPO, full heads, 7 λ", FULL),
        bench.cmpo("cmpo_low", "pluralign, CMPO, rank 16, 7 λ", LOW),
    ]


def _short(bench: Workbench) -> list[Row]:
    return [
        *_against_trl(bench),
        bench.naive(),
        bench.cmpo("cmpo_full_k16", "... full heads, 7 λ, k = 16", FULL_K16),
        bench.cmpo("cmpo_low_k16", "... rank 16, 7 λ, k = 16", LOW_K16),
        *bench.groups(),
    ]


def _medium(bench: Workbench) -> list[Row]:
    return [
        *_against_trl(bench),
        bench.cmpo("cmpo15_full", "... full heads, 15 λ, k = 9", FULL_15),
        bench.cmpo("cmpo15_low", "... rank 16, 15 λ, k = 9", LOW_15),
    ]


def _shown(ratios: Sequence[RatioOf]) -> tuple[RatioOf, ...]:
    """The same ratios where the targets, which are of S and M, say nothing."""
    return tuple(replace(asked, at_least=None, at_most=None) for asked in ratios)


_NAIVE = RatioOf("dpo_vs_naive", "naive", "dpo")
PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part("short", "", "S, short", S, SHORT, 4, _short, (*AGAINST_TRL, *MORE_HEADS, *GROUPS, _NAIVE)),
        Part("m", "m_", "M, short", M, SHORT, 4, _medium, (*AGAINST_TRL, *FIFTEEN)),
        Part("vocabulary", "v128k_", "S, vocabulary 128k, short", S_128K, SHORT, 2, _against_trl, _shown(AGAINST_TRL)),
        Part("long", "long_", "S, prompts 512, replies 64", S, LONG, 4, _against_trl, _shown(AGAINST_TRL)),
        Part("cuda", "gpu_", "1B, prompts 512, replies 256", ONE_BILLION, CUDA, 4, _against_trl, _shown(AGAINST_TRL)),
    )
}
