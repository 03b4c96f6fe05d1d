"""Which steps are compared with which, on the texts that are timed afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pluralign.bench.gate import TOLERANCE, Computed, Equality, compare, of_naive, of_step, of_trl
from pluralign.bench.naive import Logistic
from pluralign.bench.tasks import conditioned, plain
from pluralign.bench.trl_row import TrlStep
from pluralign.bench.workbench import BETA, EPSILON, FULL, LOW, Cmpo, Workbench

if TYPE_CHECKING:
    from pluralign.data.group import Group
    from pluralign.policy import Policy

_LABELS = {None: "DPO", LOW: "CMPO, rank 16, 7 λ", FULL: "CMPO, full heads, 7 λ"}


def equalities(bench: Workbench, num: int) -> Iterator[Equality]:
    """Compare DPO, CMPO with low-rank and with full heads against naive autograd and TRL, and prompt groups.

    `num`: on how many of the timed texts. Raises EqualityError at the first difference beyond the tolerance.
    """
    pairs, allowed = bench.pairs[:num], TOLERANCE[bench.dtype]
    trl = bench.trl_step(pairs)
    for what in (None, LOW, FULL):
        groups = plain(pairs) if what is None else conditioned(pairs, what.num_heads, what.wins)
        policy = bench.policy(what)
        for against, epsilon in (("naive autograd", _smoothing(what)), ("TRL", 0.0)):
            ours = of_step(bench.stepper(policy, groups, what, epsilon, still=True), groups)
            is_trl = against == "TRL"
            other = (
                _of_tuned(bench, trl, policy, groups) if is_trl else of_naive(policy, groups, Logistic(BETA, epsilon))
            )
            yield compare(ours, other, f"{_LABELS[what]}, ε = {epsilon:g}", against, allowed)
    yield _prompt_groups(bench, num, allowed)


def _of_tuned(bench: Workbench, trl: TrlStep, policy: Policy, groups: Sequence[Group]) -> Computed:
    with bench.tuning(trl)():
        return of_trl(trl, policy, groups)


def _smoothing(what: Cmpo | None) -> float:
    return 0.0 if what is None else EPSILON


def _prompt_groups(bench: Workbench, num: int, allowed: float) -> Equality:
    groups, policy = plain(bench.fours[:num]), bench.policy(None)
    ours = of_step(bench.stepper(policy, groups, None, still=True), groups)
    other = of_naive(policy, groups, Logistic(BETA, 0.0))
    return compare(ours, other, "DPO, groups of 4 replies", "naive autograd", allowed)
