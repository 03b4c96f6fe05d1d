"""Search at inference: candidates of the base, judged by a scorer, the best one returned (`steering/search.py`).

The same requests and completions as the engine's, which draws the candidates. All requests of a chunk go forward together:
each is a herd of candidates; where partial replies are judged, losers make way for copies of winners, which go on with
random numbers of their own. A reply is a function of its request (and of what the scorer says).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pluralign.data.record import Message, Record, Response
from pluralign.errors import ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import GREEDY, Completion, Engine, Request
from pluralign.sampling.spread import scores_of
from pluralign.steering.search import SearchSteering

CANDIDATES = 4096
"""Candidates that go forward together."""
REWRITE = (
    "Rewrite the instruction below in other words, so that it asks for the same and can be answered at least as well. "
    "Answer with the new instruction only.\n\nInstruction: {instruction}\n\nNew instruction:"
)
_OWN, _REWRITE, _SHIFT = 1 << 127, 1 << 126, 30  # seeds of candidates and rewrites: never those of plain requests


@dataclass
class _Candidate:
    """A reply in the making: the dialogue it answers, its ids so far, and the seed of what comes next."""

    messages: tuple[Message, ...]
    seed: int
    ids: tuple[int, ...] = ()
    text: str = ""
    finished: bool = False
    value: float = math.nan


@dataclass
class _Herd:
    """The candidates of one request. `drawn` counts seeds; `prompt_ids` are of the original dialogue."""

    request: Request
    candidates: list[_Candidate]
    drawn: int
    prompt_ids: tuple[int, ...] = field(default=())

    def running(self) -> list[_Candidate]:
        """Those that have neither ended nor reached the limit."""
        return [c for c in self.candidates if not c.finished and len(c.ids) < self.request.max_new_tokens]


class Search:
    """Answers requests of a search policy; requests without a condition are the base's, decoded as ever.

    Raises ModelError for a policy whose scorer nobody opened, and where the scorer judges no candidate of a request;
    ConfigError for greedy decoding (all candidates would be one) and for seeds from 2^96.
    """

    def __init__(self, policy: Policy, batch_size: int = 256) -> None:
        assert isinstance(policy.steering, SearchSteering)
        self.policy, self.steering, self.engine = policy, policy.steering, Engine(policy, batch_size)

    def generate(self, requests: Sequence[Request], progress: Callable[[int], None] | None = None) -> list[Completion]:
        """Completions in the order of the requests. The log-probability of a chosen reply is not known: NaN."""
        asked = [replace(request, condition=self.policy.check(request.condition)) for request in requests]
        plain = [place for place, request in enumerate(asked) if request.condition is None]
        searched = [place for place, request in enumerate(asked) if request.condition is not None]
        done = dict(zip(plain, self.engine.generate([asked[place] for place in plain], progress), strict=True))
        size = max(1, CANDIDATES // self.steering.num)
        for start in range(0, len(searched), size):
            places = searched[start : start + size]
            done.update(zip(places, self._search([asked[place] for place in places]), strict=True))
            if progress:
                progress(len(places))
        return [done[place] for place in range(len(requests))]

    def _search(self, requests: Sequence[Request]) -> Iterator[Completion]:
        self._check(requests)
        asked = self._instructions(requests)
        herds = [_herd(request, each, self.steering.num) for request, each in zip(requests, asked, strict=True)]
        while any(herd.running() for herd in herds):
            self._advance(herds)
            selecting = [herd for herd in herds if herd.running()] if self.steering.every else []
            self._judge(selecting)
            for herd in selecting:
                _select(herd, self.steering.keep, self.steering.num)
        self._judge(herds)
        return (_best(herd) for herd in herds)

    def _check(self, requests: Sequence[Request]) -> None:
        if self.steering.judge is None:
            raise ModelError(
                "this policy chooses by a scorer, and none is open; load it with load_policy, or give it one: "
                "policy.steering.choose_by(scorer)"
            )
        if any(request.temperature < GREEDY for request in requests):
            raise ConfigError("a search among equal replies finds nothing; set a temperature above 0")
        if any(not 0 <= request.seed < 2**96 or request.prefix for request in requests):
            raise ConfigError("a search takes seeds in [0, 2^96), and begins its replies itself (no prefix)")

    def _instructions(self, requests: Sequence[Request]) -> list[list[tuple[Message, ...]]]:
        """For each request the original dialogue, then those whose last user turn the model has rewritten."""
        num = self.steering.mutations
        asked = [
            replace(request, messages=_rewriting(request.messages), condition=None, seed=_seed(request, k) | _REWRITE)
            for request in requests
            for k in range(num)
        ]
        said = [completion.text.strip() for completion in self.engine.generate(asked)]
        return [
            [request.messages, *(_turned(request.messages, text) for text in said[place * num : (place + 1) * num])]
            for place, request in enumerate(requests)
        ]

    def _advance(self, herds: Sequence[_Herd]) -> None:
        """Everything that runs goes on by `every` tokens, or to its end."""
        going = [(herd, candidate) for herd in herds for candidate in herd.running()]
        requests = [
            replace(
                herd.request,
                messages=candidate.messages,
                condition=None,
                seed=candidate.seed,
                prefix=candidate.ids,
                room=herd.request.max_new_tokens,
                max_new_tokens=self._step(herd.request.max_new_tokens - len(candidate.ids)),
            )
            for herd, candidate in going
        ]
        for (herd, candidate), drawn in zip(going, self.engine.generate(requests), strict=True):
            candidate.ids, candidate.text, candidate.finished = drawn.ids, drawn.text, drawn.finished
            if candidate.messages == herd.request.messages:
                herd.prompt_ids = drawn.prompt_ids

    def _step(self, left: int) -> int:
        return min(self.steering.every, left) if self.steering.every else left

    def _judge(self, herds: Sequence[_Herd]) -> None:
        """Fill in what every candidate is worth as an answer to the original dialogue."""
        if not herds:
            return
        records = [
            Record(
                herd.request.messages,
                tuple(Response(c.text, finished=c.finished) for c in herd.candidates),
                id=str(place),
            )
            for place, herd in enumerate(herds)
        ]
        scored = list(self.steering.judge.score(records))
        if [len(record.responses) for record in scored] != [len(record.responses) for record in records]:
            raise ModelError("the scorer did not give every record back with its replies, in order")
        for herd, record in zip(herds, scored, strict=True):
            assert herd.request.condition is not None
            values = self.steering.value(scores_of(record, self.policy.objectives), herd.request.condition)
            if np.isnan(values).all():
                raise ModelError(
                    f"the scorer judged none of {len(values)} candidates on what '{herd.request.condition}' asks for; "
                    "check it with `score`"
                )
            for candidate, value in zip(herd.candidates, values.tolist(), strict=True):
                candidate.value = value


def _last_user(messages: tuple[Message, ...]) -> int:
    return max((place for place, message in enumerate(messages) if message.role == "user"), default=len(messages) - 1)


def _turned(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """The dialogue with another last user turn; with its own where there is no text."""
    place = _last_user(messages)
    return (
        *messages[:place],
        replace(messages[place], content=text or messages[place].content),
        *messages[place + 1 :],
    )


def _rewriting(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return _turned(messages, REWRITE.format(instruction=messages[_last_user(messages)].content))


def _seed(request: Request, number: int) -> int:
    return _OWN | request.seed << _SHIFT | number


def _herd(request: Request, instructions: Sequence[tuple[Message, ...]], num: int) -> _Herd:
    candidates = [_Candidate(instructions[i % len(instructions)], _seed(request, i)) for i in range(num)]
    return _Herd(request, candidates, num)


def _ranked(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Best first, earlier ones first among equals, those without a value last."""
    return sorted(candidates, key=lambda c: math.inf if math.isnan(c.value) else -c.value)


def _select(herd: _Herd, keep: int, num: int) -> None:
    """The best `keep` stay; the other places go to copies of those among them that still run, in turn."""
    herd.candidates = _ranked(herd.candidates)[:keep]
    going = herd.running()
    for place in range(num - keep if going else 0):
        herd.candidates.append(replace(going[place % len(going)], seed=_seed(herd.request, herd.drawn)))
        herd.drawn += 1


def _best(herd: _Herd) -> Completion:
    best = _ranked(herd.candidates)[0]
    return Completion(best.text, best.ids, best.finished, math.nan, herd.prompt_ids)
