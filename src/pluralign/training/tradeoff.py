"""TradeOffSource: replies of one prompt, all their pairs judged under several drawn weights at once.

A step takes prompts until it holds `responses_per_step` responses: of each prompt up to `responses_per_prompt`, record
by record, so that replies which people saw side by side stay together. All pairs of a prompt's responses are judged
under the step's `weights_per_step` drawn weights, so that a pair is seen in both orders wherever the trade-off turns
it, and each response is read once for all its pairs. Weights are drawn over the objectives on which something is said
about the pair (two scores, a comparison, a ranking): pairs with the same labels share the draw.

Records of the same prompt are one prompt: two scored replies of different records make a pair. A pair is judged as
`data.conversions.trade_off` judges it (a test holds the two equal), but all pairs of a step in one array operation and
from evidence read once, because a step must not wait for its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data import simplex
from pluralign.data.condition import from_vector
from pluralign.data.evidence import direction_signs, evidence, score_row
from pluralign.data.group import Group, Preference, Text, cut_off
from pluralign.data.objective import Objective, names
from pluralign.data.record import Message, Record, Response
from pluralign.errors import ConfigError, DataError
from pluralign.storage import fingerprint
from pluralign.training.source import check_same

_PROMPTS, _WEIGHTS = 1, 2  # streams of the generator
_NO_MARGIN = 1e-9  # of the size of the terms: what cancels up to rounding is no preference

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """A record and what is said in it: scores [N, K] (more is better; NaN unknown), size and verdict [N, N, K] as in
    `data.evidence.Evidence`."""

    record: Record
    scores: Array
    size: Array
    verdict: Array

    @classmethod
    def of(cls, record: Record, objectives: Sequence[Objective]) -> Judged:
        """Read a record once."""
        rows = [score_row(response, objectives) * direction_signs(objectives) for response in record.responses]
        found = evidence(record, objectives)
        return cls(record, np.array(rows).reshape(len(rows), len(objectives)), found.size, found.verdict)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Some responses of a prompt and what is said of each pair of them, first over second, i < j.

    first, second [P] (indices into `responses`), size and verdict [P, K], labels [P, K]: where there is a verdict.
    """

    record: Record
    responses: tuple[Response, ...]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    size: Array
    verdict: Array

    @property
    def labels(self) -> NDArray[np.bool_]:
        """[P, K]."""
        return ~np.isnan(self.verdict)


def between(parts: Sequence[tuple[Judged, NDArray[np.intp]]]) -> Drawn:
    """The pairs of the chosen responses (record, places) of one prompt that have a label and differ in text."""
    responses = tuple(judged.record.responses[int(place)] for judged, places in parts for place in places)
    scores = np.concatenate([judged.scores[places] for judged, places in parts])
    size = scores[:, None] - scores[None]
    verdict, start = np.sign(size), 0
    for judged, places in parts:
        own = slice(start, start + len(places))
        size[own, own], verdict[own, own] = (table[np.ix_(places, places)] for table in (judged.size, judged.verdict))
        start = own.stop
    texts = np.array([(response.text, response.finished) for response in responses], dtype=object)
    differ = (texts[:, None] != texts[None]).any(2)
    first, second = np.nonzero(np.triu(differ & ~np.isnan(verdict).all(2), 1))
    return Drawn(parts[0][0].record, responses, first, second, size[first, second], verdict[first, second])


class TradeOffSource:
    """See the module's text. `ties`: keep pairs of equal worth under a weight as judgements of margin 0, which a regression
    learns from (two replies equally good keep the odds of the reference) and a comparison cannot. Raises DataError where
    no prompt has two different responses with a common label."""

    live = False

    def __init__(
        self,
        records: Sequence[Record],
        objectives: Sequence[Objective],
        seed: int = 0,
        responses_per_step: int = 64,
        responses_per_prompt: int = 8,
        weights_per_step: int = 4,
        ties: bool = False,
    ) -> None:
        if min(responses_per_step, responses_per_prompt) < 2 or weights_per_step < 1:
            raise ConfigError(
                "responses_per_step and responses_per_prompt must be at least 2 and weights_per_step 1, got "
                f"{responses_per_step}, {responses_per_prompt} and {weights_per_step}"
            )
        self.objectives, self.seed, self.ties = tuple(objectives), seed, ties
        self.responses_per_step, self.responses_per_prompt = responses_per_step, responses_per_prompt
        self.weights_per_step = weights_per_step
        prompts: dict[tuple[Message, ...], list[Judged]] = {}
        for record in records:
            if record.responses:
                prompts.setdefault(record.messages, []).append(Judged.of(record, self.objectives))
        self.prompts = [prompt for prompt in prompts.values() if _has_pair(prompt)]
        if not self.prompts:
            raise DataError(
                "no prompt has two different responses with a common label on one of the objectives "
                f"{', '.join(names(objectives))}; check the names, the scores and the comparisons"
            )
        sizes = np.array([sum(len(judged.scores) for judged in prompt) for prompt in self.prompts])
        self._shares = sizes / sizes.sum()

    def batch(self, step: int) -> list[Group]:
        """The groups of a step: one per prompt and kind of labelled pair."""
        return [group for drawn in self.draw(step) for group in self._judge(drawn, step)]

    def draw(self, step: int) -> list[Drawn]:
        """Prompts by their number of responses, until the step is full."""
        rng = np.random.default_rng([self.seed, _PROMPTS, step])
        drawn: list[Drawn] = []
        while (room := self.responses_per_step - sum(len(each.responses) for each in drawn)) > 1:
            prompt = self.prompts[int(rng.choice(len(self.prompts), p=self._shares))]
            drawn.append(self._draw_from(rng, prompt, min(room, self.responses_per_prompt)))
        return drawn

    def _draw_from(self, rng: np.random.Generator, prompt: Sequence[Judged], most: int) -> Drawn:
        """Records of a prompt in random order while they fit; what is too large is drawn from."""
        parts: list[tuple[Judged, NDArray[np.intp]]] = []
        for number in rng.permutation(len(prompt)):
            size = len(prompt[number].scores)
            parts.append((prompt[number], rng.permutation(size)[:most]))
            most -= len(parts[-1][1])
            if most < 1:
                break
        return between(parts)

    def _judge(self, drawn: Drawn, step: int) -> list[Group]:
        groups = []
        for labels in np.unique(drawn.labels, axis=0):
            weights = self._weights(step, labels)
            conditions = tuple(from_vector(row, self.objectives) for row in weights)
            preferences = self._preferences(drawn, np.flatnonzero((drawn.labels == labels).all(1)), weights)
            if preferences:
                groups.append(Group.of(drawn.record, drawn.responses, conditions, preferences))
        return groups

    def _weights(self, step: int, labels: NDArray[np.bool_]) -> Array:
        """[L, K] over the labelled objectives."""
        rng = np.random.default_rng([self.seed, _WEIGHTS, step, *labels.tolist()])
        return simplex.draw(rng, self.weights_per_step, len(self.objectives), labels)

    def _preferences(self, drawn: Drawn, pairs: NDArray[np.intp], weights: Array) -> tuple[Preference, ...]:
        sized, signed = (_weighed(weights, table[pairs]) for table in (drawn.size, drawn.verdict))
        known = ~np.isnan(sized)
        value = np.where(known, sized, signed)
        kept = (value != 0) | (known & self.ties)
        ends = np.stack([drawn.first[pairs], drawn.second[pairs]], 1)
        return tuple(
            Preference(
                int(place),
                int(ends[pair, int(value[pair, place] < 0)]),
                int(ends[pair, int(value[pair, place] >= 0)]),
                float(abs(value[pair, place])) if known[pair, place] else None,
            )
            for pair, place in np.argwhere(kept)
        )

    def texts(self) -> Iterable[Text]:
        """Every prompt with each of its responses."""
        for judged in self._judged:
            record = judged.record
            for response in record.responses:
                yield record.messages, response.text, response.finished

    @property
    def _judged(self) -> Iterable[Judged]:
        return (judged for prompt in self.prompts for judged in prompt)

    def state(self) -> dict[str, Any]:
        """Identity only: the place follows from the step."""
        return {
            "kind": "trade-off",
            "seed": self.seed,
            "responses_per_step": self.responses_per_step,
            "responses_per_prompt": self.responses_per_prompt,
            "weights_per_step": self.weights_per_step,
            "ties": self.ties,
            "objectives": list(names(self.objectives)),
            "content": self._content,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """RunError unless seed, sizes and content are the same."""
        check_same(state, self.state(), "data")

    @cached_property
    def _content(self) -> str:
        return fingerprint(*(part for judged in self._judged for part in _describe(judged)))


def _describe(judged: Judged) -> list[Any]:
    record = judged.record
    turns = [[message.role, message.content] for message in record.messages]
    texts = [response.text for response in record.responses]
    numbers = [table.astype("<f8").tobytes() for table in (judged.scores, judged.size, judged.verdict)]
    return [[turns, texts, *cut_off(record.responses)], *numbers]


def _has_pair(prompt: Sequence[Judged]) -> bool:
    """Whether two different responses of a prompt have a common label; records first, since most have a pair."""
    own = (between([(judged, np.arange(len(judged.scores)))]) for judged in prompt)
    if any(len(drawn.first) for drawn in own):
        return True
    return len(between([(judged, np.arange(len(judged.scores))) for judged in prompt]).first) > 0


def _weighed(weights: Array, values: Array) -> Array:
    """λ·value [P, L] of values [P, K]; NaN where a weighed value is unknown, exactly 0 where the terms cancel."""
    terms = np.where(weights == 0, 0.0, weights * values[:, None])
    total = terms.sum(2)
    return np.where(np.abs(total) <= _NO_MARGIN * np.abs(terms).sum(2), 0.0, total)
