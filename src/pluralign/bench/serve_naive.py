"""What a server without an engine does, and the yardstick of correctness: Hugging Face's `generate`, a request at a time.

The token is drawn as everywhere here: the inverse of the cumulative distribution at the request's own number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.bench.serve_load import Ask
from pluralign.data.condition import Condition, Weights
from pluralign.data.record import user

if TYPE_CHECKING:
    from torch import Tensor

    from pluralign.policy import Policy

CLOSE = 1e-4
"""Nearer than this to a boundary of the distribution (or of the two likeliest tokens), rounding may decide."""


@dataclass(frozen=True, slots=True)
class Told:
    """A reply and its ids, the end token included."""

    text: str
    ids: tuple[int, ...]


class Naive:
    """`generate` on a policy's own model, steered."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @classmethod
    def load(cls, folder: Path) -> Naive:
        """From a policy folder."""
        from pluralign.policy import Policy

        return cls(Policy.load(folder))

    def reply(self, ask: Ask) -> Told:
        """The reply to one request."""
        import torch

        prompt, [(condition, _)] = self._read(ask)
        encoder = self.policy.encoder
        with torch.no_grad():
            ids = self.policy.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                steer=self.policy.coefficients([condition]),
                max_new_tokens=ask.max_tokens,
                do_sample=False,
                eos_token_id=encoder.end_id,
                pad_token_id=encoder.end_id,
                logits_processor=[_drawing(ask, prompt.shape[1])] if ask.temperature else [],
            )[0, prompt.shape[1] :].tolist()
        return Told(encoder.decode(ids[:-1] if ids[-1] == encoder.end_id else ids), tuple(ids))

    def near_boundary(self, ask: Ask, told: Told, other: str) -> bool:
        """Whether `other` parts from the reply at a token that rounding may have decided."""
        import torch

        place = self._parting(told, other)
        prompt, members = self._read(ask)
        ids = torch.cat([prompt, torch.tensor([told.ids[:place]], dtype=torch.long)], dim=1)
        steering, shares = self.policy.steering, torch.tensor([share for _, share in members])
        coefficients = self.policy.coefficients([condition for condition, _ in members])
        with torch.no_grad(), steering.steered(self.policy.model, coefficients):
            logits = self.policy.model(input_ids=ids.expand(len(members), -1), use_cache=False).logits[:, -1]
        logprobs = logits.float().log_softmax(-1)
        mixed = steering.combine(logprobs, shares, torch.zeros(len(members), dtype=torch.long), 1)
        return margin(mixed if len(members) > 1 else logits, ask, place, told.ids[place]) < CLOSE

    def _parting(self, told: Told, other: str) -> int:
        """The number of the first token that is not in the other text."""
        encoder = self.policy.encoder
        for place in range(len(told.ids)):
            ended = told.ids[place] == encoder.end_id
            if ended or not other.startswith(encoder.decode(told.ids[: place + 1])):
                return place
        return len(told.ids) - 1

    def _read(self, ask: Ask) -> tuple[Tensor, list[tuple[Condition | None, float]]]:
        """(prompt [1, T], the members that answer with their shares)."""
        import torch

        checked = self.policy.check(_condition(ask))
        messages = self.policy.steering.write(user(ask.prompt), checked)
        members = self.policy.steering.members(checked)
        return torch.tensor([self.policy.encoder.prompt(messages).ids]), members


class Alone(Naive):
    """Our own engine, a request at a time: for policies whose members answer together, which `generate` cannot run."""

    def reply(self, ask: Ask) -> Told:
        """The reply to one request."""
        from pluralign.sampling.engine import Engine, Request

        request = Request(
            user(ask.prompt), _condition(ask), ask.drawn_with, ask.temperature, max_new_tokens=ask.max_tokens
        )
        [done] = Engine(self.policy, 1).generate([request])
        return Told(done.text, done.ids)


def _condition(ask: Ask) -> Condition | None:
    return None if ask.weights is None else Weights(dict(ask.weights))


def _drawing(ask: Ask, begun: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A logits processor that leaves the drawn token alone; `begun` tokens are the prompt's."""
    import torch

    from pluralign.sampling.draws import distribution, draw, uniforms

    numbers = torch.from_numpy(uniforms(ask.drawn_with, ask.max_tokens))
    temperature, top_p = torch.tensor([ask.temperature]), torch.ones(1)

    def choose(ids: Tensor, logits: Tensor) -> Tensor:
        chosen = draw(distribution(logits, temperature, top_p), numbers[ids.shape[1] - begun][None])
        return torch.full_like(logits, -torch.inf).scatter(1, chosen[:, None], 0.0)

    return choose


def margin(logits: Any, ask: Ask, place: int, token: int) -> float:
    """How far the number of token `place` is from the ends of the drawn token's share, or the two likeliest logits from
    each other (greedy)."""
    import torch

    from pluralign.sampling.draws import distribution, uniforms

    if not ask.temperature:
        best = logits[0].float().topk(2).values
        return float(best[0] - best[1])
    share = distribution(logits, torch.tensor([ask.temperature]), torch.ones(1)).double().exp().cumsum(-1)[0]
    share = share / share[-1]
    number = float(uniforms(ask.drawn_with, place + 1)[place])
    low = float(share[token - 1]) if token else 0.0
    return min(abs(number - low), abs(float(share[token]) - number))
