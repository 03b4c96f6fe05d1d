"""The head alone: every formulation of the same log-probabilities, and the one that the rule chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pluralign.bench.models import S, Shape, base_weights, sharing
from pluralign.bench.ours import shake
from pluralign.bench.parts import RatioOf
from pluralign.bench.tasks import objectives
from pluralign.bench.timing import Clock, Row, interleaved

if TYPE_CHECKING:
    from pluralign.steering.formulations import Name
    from pluralign.steering.fused import Judged

CHOOSER = RatioOf("chooser_over_best", "", "", at_most=1.1)
CHOSEN = "chosen"
ROWS = 8
TOKENS = 768  # of the responses of a step with 4 pairs


@dataclass(frozen=True, slots=True)
class Setting:
    """A head of `num_heads` changes of `rank`, asked under `num_weights` vectors with `active` heads in all."""

    num_heads: int
    rank: Any
    active: int
    num_weights: int

    @property
    def about(self) -> str:
        """In words."""
        kind = "full heads" if self.rank == "full" else f"rank {self.rank}"
        return f"{kind}, k = {self.num_heads}, {self.active} active, {self.num_weights} λ"


SETTINGS = tuple(
    Setting(4, rank, active, num_weights)
    for rank in ("full", 16)
    for active, num_weights in ((1, 1), (3, 7), (4, 1), (4, 2), (4, 4))
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Seconds of each formulation that is possible, and of the chosen one."""

    about: str
    seconds: dict[str, float]

    @property
    def over_best(self) -> float:
        """The chosen one's time over the fastest fixed one's."""
        return self.seconds[CHOSEN] / min(value for name, value in self.seconds.items() if name != CHOSEN)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"about": self.about, "seconds": {k: round(v, 5) for k, v in self.seconds.items()}}


def choices(repeats: int, share: float = 1.0, shape: Shape = S) -> list[Choice]:
    """Every setting, timed in turn; `share` shortens the texts."""
    base = base_weights(shape)
    return [_choice(_HeadStep(setting, base, max(16, round(share * TOKENS))), repeats) for setting in SETTINGS]


def _choice(made: _HeadStep, repeats: int) -> Choice:
    about = made.setting.about
    rows = [Row(name, name, made.step(name)) for name in made.possible()]
    timings = interleaved([Row(CHOSEN, CHOSEN, made.step(None)), *rows], repeats, Clock(), f"head, {about}")
    return Choice(about, {name: timing.median for name, timing in timings.items()})


class _HeadStep:
    """Loss and gradients of a head on random hidden states of eight rows, four pairs."""

    def __init__(self, setting: Setting, base: Any, num_tokens: int) -> None:
        from pluralign.steering.head import Head

        self.setting = setting
        layer = _plural_head(base, setting)
        self.head = Head(layer)
        generator = torch.Generator().manual_seed(0)
        vocabulary, width = base.get_output_embeddings().weight.shape
        self.hidden = torch.randn(num_tokens, width, generator=generator).requires_grad_()
        self.targets = torch.randint(0, vocabulary, (num_tokens,), generator=generator)
        self.rows = torch.arange(num_tokens) * ROWS // num_tokens
        self.coefficients = _coefficients(setting).expand(ROWS, -1, -1)
        self.judged = _judged(self.rows, setting.num_weights)

    def possible(self) -> list[Name]:
        """The fixed formulations worth trying: a matrix per weight vector only where these are no more than the heads."""
        low, few = self.setting.rank != "full", self.setting.num_weights <= self.setting.active
        return ["logits", *(["weights"] if few else []), *(["ranks"] if low else [])]  # type: ignore[list-item]

    def step(self, force: Name | None) -> Callable[[], object]:
        """Forward and backward by one formulation, or by the one that is chosen."""
        from pluralign.losses.dpo import CDPO
        from pluralign.steering.fused import losses

        def run() -> None:
            self.hidden.grad = None
            self.head.layer.zero_grad(set_to_none=True)
            asked = (self.head, self.hidden, self.targets, self.rows, self.coefficients, self.judged, CDPO())
            losses(*asked, force=force)[0].backward()

        return run


def _plural_head(base: Any, setting: Setting) -> Any:
    from pluralign.steering.plural import PluralSteering

    model = sharing(base)
    PluralSteering(rank=setting.rank).attach(model, None, objectives(setting.num_heads))  # type: ignore[arg-type]
    layer = model.get_output_embeddings()
    shake({name: p.detach() for name, p in layer.named_parameters() if p.requires_grad})
    return layer


def _coefficients(setting: Setting) -> Tensor:
    """[1, L, C]: weights over the active heads (their power set, or drawn), shared share 1, base share 1."""
    drawn = np.random.default_rng(0).dirichlet(np.ones(setting.active), setting.num_weights)
    if setting.num_weights == 2**setting.active - 1:
        sets = range(1, 2**setting.active)
        bits = np.array([[number >> place & 1 for place in range(setting.active)] for number in sets], dtype=float)
        drawn = bits / bits.sum(1, keepdims=True)
    rows = np.zeros((1, setting.num_weights, setting.num_heads + 2), dtype=np.float32)
    rows[0, :, : setting.active], rows[0, :, -2:] = drawn, 1.0
    return torch.from_numpy(rows)


def _judged(rows: Tensor, num_weights: int) -> Judged:
    """Row 2p beats row 2p + 1 under every condition."""
    from pluralign.losses.outputs import Judgements
    from pluralign.steering.fused import Judged

    pairs = torch.arange(ROWS // 2).repeat_interleave(num_weights)
    conditions = torch.arange(num_weights).repeat(ROWS // 2)
    told = Judgements(2 * pairs, 2 * pairs + 1, conditions, torch.full((len(pairs),), torch.nan))
    lengths = torch.bincount(rows, minlength=ROWS)
    return Judged(-10.0 * lengths, lengths, torch.arange(ROWS) // 2, told)
