"""One base model, one set of texts, and every kind of step that can be taken on them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.bench import ours
from pluralign.bench.allocator import reusing
from pluralign.bench.flops import HeadWork, Work, work
from pluralign.bench.models import Shape, base_weights, word_tokenizer
from pluralign.bench.naive import Logistic, NaiveStep
from pluralign.bench.tasks import Item, Lengths, conditioned, items, pairwise, plain
from pluralign.bench.timing import Around, Row
from pluralign.bench.trl_row import Adapter, TrlStep, trainer, tuned

if TYPE_CHECKING:
    from pluralign.data.group import Group
    from pluralign.policy import Policy
    from pluralign.training.optim import Optim
    from pluralign.training.stepper import Stepper

BETA = 0.1
EPSILON = 0.1


@dataclass(frozen=True, slots=True)
class Cmpo:
    """Pairs under weights: `num_heads` k, of which the chosen reply `wins` on m (2^m - 1 weights), head `rank`."""

    num_heads: int
    wins: int
    rank: Any

    @property
    def num_weights(self) -> int:
        """2^m - 1."""
        return 2**self.wins - 1

    @property
    def head(self) -> HeadWork:
        """What it asks of the head."""
        return HeadWork(self.wins, self.num_weights, None if self.rank == "full" else int(self.rank))


FULL, LOW = Cmpo(4, 3, "full"), Cmpo(4, 3, 16)
FULL_15, LOW_15 = Cmpo(9, 4, "full"), Cmpo(9, 4, 16)
FULL_K16, LOW_K16 = Cmpo(16, 3, "full"), Cmpo(16, 3, 16)


@dataclass
class Workbench:
    """Rows on a random Llama of `shape` and `num` pairs (or prompt groups) of these `lengths`.

    `tune_gemm`: oneDNN is the faster library here, so that TRL's tuned row uses it. `folder` is for what the trainers
    write. Every optimiser step is small, and the same in every row.
    """

    shape: Shape
    lengths: Lengths
    num: int
    folder: Path
    device: str = "cpu"
    tune_gemm: bool = False
    adapter: Adapter = field(default_factory=Adapter)
    done: dict[str, tuple[Work, Work, HeadWork]] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """Of the frozen weights: float32 on the CPU, bfloat16 on CUDA."""
        return "float32" if self.device == "cpu" else "bfloat16"

    @cached_property
    def base(self) -> Any:
        """The frozen weights that all rows share."""
        return base_weights(self.shape, dtype=self.dtype, device=self.device)

    @cached_property
    def tokenizer(self) -> Any:
        """Words to ids."""
        return word_tokenizer(self.shape.vocabulary)

    @cached_property
    def pairs(self) -> list[Item]:
        """Prompts with two replies."""
        return items(self.shape.vocabulary, self.lengths, self.num)

    @cached_property
    def fours(self) -> list[Item]:
        """Prompts with four replies, six pairs each."""
        return items(self.shape.vocabulary, self.lengths, self.num, num_replies=4, seed=1)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def trl(self) -> list[Row]:
        """TRL as shipped and tuned: one trainer, two ways to run it."""
        step = self.trl_step(self.pairs)
        for name in ("shipped", "tuned"):
            self._note(name, plain(self.pairs), HeadWork())
        return [
            Row("shipped", "TRL, shipped", step),
            Row("tuned", "TRL, tuned", step, self.tuning(step)),
        ]

    def trl_step(self, chosen: Sequence[Item]) -> TrlStep:
        """A DPOTrainer on these pairs."""
        from pluralign.bench.models import sharing

        made = trainer(sharing(self.base), self.tokenizer, chosen, BETA, self.adapter, self.folder / "trl")
        return TrlStep(made)

    def tuning(self, step: TrlStep) -> Around:
        """The context that makes a TRL step a tuned one."""

        @contextlib.contextmanager
        def around() -> Any:
            with tuned(step.trainer.model, self.tune_gemm), reusing():
                yield

        return around

    def naive(self) -> Row:
        """Naive autograd on the same pairs."""
        groups = plain(self.pairs)
        self._note("naive", groups, HeadWork())
        return Row("naive", "naive autograd", NaiveStep(self.policy(None), groups, Logistic(BETA, 0.0)))

    def dpo(self, name: str = "dpo", label: str = "pluralign, DPO") -> Row:
        """Our DPO step on the pairs."""
        return self._ours(name, label, None, plain(self.pairs))

    def groups(self) -> list[Row]:
        """Prompts with four replies as groups, and the same pairs apart (sharing a prefix within each pair only)."""
        return [
            self._ours("groups", "pluralign, groups of 4", None, plain(self.fours)),
            self._ours("pairwise", "pluralign, the 6 pairs apart", None, pairwise(self.fours)),
        ]

    def cmpo(self, name: str, label: str, what: Cmpo, formulation: str | None = None) -> Row:
        """Our CMPO step on the pairs."""
        return self._ours(name, label, what, conditioned(self.pairs, what.num_heads, what.wins), formulation)

    def _ours(
        self, name: str, label: str, what: Cmpo | None, groups: list[Group], formulation: str | None = None
    ) -> Row:
        self._note(name, groups, HeadWork() if what is None else what.head)
        made = self.stepper(self.policy(what), groups, what)
        return Row(name, label, lambda: made.step(groups))

    # -- parts of rows -------------------------------------------------------------------------------------------------

    def policy(self, what: Cmpo | None) -> Policy:
        """A policy of ours: plain, or with plural heads."""
        heads = None if what is None else ours.Heads(what.num_heads, what.rank)
        return ours.policy(self.base, self.tokenizer, self.adapter, heads)

    def stepper(
        self, policy: Policy, groups: Sequence[Group], what: Cmpo | None, epsilon: float = EPSILON, still: bool = False
    ) -> Stepper:
        """The training step: DPO without heads, constrained DPO with them. `still`: it leaves the weights alone."""
        from pluralign.losses.dpo import CDPO, DPO

        loss = DPO(BETA) if what is None else CDPO(BETA, epsilon)
        return ours.stepper(policy, groups, loss, self._optim(still), self.folder)

    def _optim(self, still: bool) -> Optim:
        from pluralign.training.optim import Optim

        precision = "fp32" if self.device == "cpu" else "bf16"
        if still:
            return Optim(lr=0.0, clip_norm=None, precision=precision)  # type: ignore[arg-type]
        return Optim(lr=1e-6, steps=1000, precision=precision)  # type: ignore[arg-type]

    def _note(self, name: str, groups: Sequence[Group], head: HeadWork) -> None:
        """Remember how much work a row does: with its prefixes shared, apart, and in the head."""
        from pluralign.encoding import Encoder

        encoder = Encoder(self.tokenizer, "plain")
        self.done[name] = (work(groups, encoder, shared=True), work(groups, encoder, shared=False), head)
