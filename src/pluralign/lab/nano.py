"""The nano world: 720 possible replies per prompt, so that every policy can be judged exactly, without sampling.

A nano reply is a warm opener (none, formal, casual: 3), steps (the generic line in two forms, one of three steps in
two forms, or two of them in two forms each: 2 + 6 + 12 = 20), a caution (none, formal, casual: 3) and jokes (none, the
first, the second, both: 4). Prompts, objectives and the scorer are the lab's own.

Exact evaluation (methods.md F): with all log-probabilities of the 720 replies known, utility, KL, value and regret
follow by summing. Probability that leaks to other texts counts as one more outcome, worth 0 on every objective: a
policy that loses its grammar pays for it, and the KL of the leaked part is the smallest it can be.

Letters: N replies, L weights, K objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.data.record import Message, Record
from pluralign.errors import ConfigError
from pluralign.lab.grammar import FORMAL_PROBABILITIES, text_of
from pluralign.lab.lexicon import Element, Kind, Sentence, Topic, sentence_by_element, topics
from pluralign.lab.optimum import BETA, Reference, optimum
from pluralign.lab.prompt_set import prompts, topic_of
from pluralign.lab.scoring import reply_scores

Array = NDArray[np.float64]
ReplyLogprobs = Callable[[tuple[Message, ...], Sequence[str]], ArrayLike]
SteeredLogprobs = Callable[[tuple[Message, ...], Sequence[str], Array], ArrayLike]
NUM_REPLIES = 720
NUM_PROMPTS = 8
WARM_SHARE, CAUTION_SHARE = 0.45, 0.45
STEP_SHARES = (0.15, 0.45, 0.40)
JOKE_SHARES = (0.50, 0.35, 0.15)
_STEPS = tuple(Element(Kind.STEP, number) for number in range(3))
_JOKES = tuple(Element(Kind.JOKE, number) for number in range(2))
_SMALLEST = 1e-12


def _choices() -> tuple[list[tuple[Element, ...]], ...]:
    """The elements that may be said, slot by slot, before any style is chosen."""
    steps = [(Element(Kind.GENERIC, 0),), *((step,) for step in _STEPS), *combinations(_STEPS, 2)]
    jokes = [(), *((joke,) for joke in _JOKES), _JOKES]
    return [(), (Element(Kind.OPENER, 0),)], steps, [(), (Element(Kind.CAUTION, 0),)], jokes


def _styled(topic: Topic, elements: tuple[Element, ...]) -> list[tuple[Sentence, ...]]:
    forms = sentence_by_element(topic)
    styles = [(False,) if element.kind == Kind.JOKE else (True, False) for element in elements]
    return [
        tuple(forms[element, formal] for element, formal in zip(elements, chosen, strict=True))
        for chosen in product(*styles)
    ]


@cache
def replies(topic: Topic) -> tuple[tuple[Sentence, ...], ...]:
    """All 720 nano replies about a topic, in a fixed order that is the same for every topic."""
    plans = [sum(slots, ()) for slots in product(*_choices())]
    return tuple(reply for plan in plans for reply in _styled(topic, plan))


@cache
def texts(topic: Topic) -> tuple[str, ...]:
    """The texts of all 720 nano replies about a topic."""
    return tuple(text_of(reply) for reply in replies(topic))


@cache
def scores() -> Array:
    """The exact scores of the 720 replies, [720, 6]; the same for every topic."""
    table = np.array([reply_scores(reply) for reply in replies(topics()[0])], dtype=np.float64)
    table.setflags(write=False)
    return table


@cache
def probabilities() -> Array:
    """The nano grammar: how often each of the 720 replies occurs in the base's training data, [720]."""
    table = np.array([_probability(reply) for reply in replies(topics()[0])])
    table.setflags(write=False)
    return table


def _probability(reply: tuple[Sentence, ...]) -> float:
    kinds = [sentence.element.kind for sentence in reply]
    num_steps, num_jokes = kinds.count(Kind.STEP), kinds.count(Kind.JOKE)
    slots = WARM_SHARE if Kind.OPENER in kinds else 1 - WARM_SHARE
    slots *= CAUTION_SHARE if Kind.CAUTION in kinds else 1 - CAUTION_SHARE
    slots *= STEP_SHARES[num_steps] / (1, 3, 3)[num_steps] * JOKE_SHARES[num_jokes] / (1, 2, 1)[num_jokes]
    formal = sum(sentence.formal for sentence in reply)
    casual = len(reply) - num_jokes - formal
    return slots * sum(p**formal * (1 - p) ** casual for p in FORMAL_PROBABILITIES) / len(FORMAL_PROBABILITIES)


def draw_text(rng: np.random.Generator, prompt: Record) -> str:
    """One nano reply to a prompt of the lab, drawn from the nano grammar."""
    return texts(_topic(prompt))[int(rng.choice(NUM_REPLIES, p=probabilities()))]


def _topic(prompt: Record) -> Topic:
    topic = topic_of(prompt.messages)
    if topic is None:
        raise ConfigError(f"the prompt {prompt.messages!r} is about no single topic of the lab")
    return topic


@dataclass(frozen=True, slots=True, eq=False)
class NanoReport:
    """Exact numbers per weight, all [L], means over the prompts; `share` sums them up.

    utility  E[λ·s]               kl    KL(π || π_ref), nats per reply      regret  V* - (utility - β_r KL)
    best     V*(λ)                base  E_ref[λ·s]                          mass    probability on the 720 replies
    """

    beta: float
    utility: Array
    kl: Array
    regret: Array
    best: Array
    base: Array
    mass: Array

    @property
    def share(self) -> float:
        """Share of the achievable value: 1 - mean regret / mean (V* - the base's value). Base 0, optimum 1."""
        return 1.0 - float(self.regret.mean() / (self.best - self.base).mean())


def evaluate(
    steered: SteeredLogprobs,
    reference: ReplyLogprobs,
    weights: ArrayLike,
    asked: Sequence[Record] | None = None,
    beta: float = BETA,
) -> NanoReport:
    """Judge a policy exactly on `asked` (default: the first eight test prompts) for weights [L, K].

    `steered(messages, texts, weights)` gives log-probabilities [N, L] of whole replies, end token included, and
    `reference(messages, texts)` those of the base, [N].
    """
    grid = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    chosen = prompts("test")[:NUM_PROMPTS] if asked is None else asked
    found = [_evaluate_prompt(steered, reference, grid, prompt, beta) for prompt in chosen]
    if not found:
        raise ConfigError("nothing to evaluate: give at least one prompt")
    return NanoReport(beta, *np.mean(found, axis=0))


def _evaluate_prompt(
    steered: SteeredLogprobs, reference: ReplyLogprobs, grid: Array, prompt: Record, beta: float
) -> Array:
    """Rows utility, kl, regret, best, base, mass of one prompt: [6, L]."""
    candidates = texts(_topic(prompt))
    base = _with_elsewhere(np.asarray(reference(prompt.messages, candidates), dtype=np.float64)[:, None])[:, 0]
    policy = _with_elsewhere(np.asarray(steered(prompt.messages, candidates, grid), dtype=np.float64))
    table = np.vstack([scores(), np.zeros(scores().shape[1])])
    best = optimum(Reference(table, base), grid, beta).value
    rewards = table @ grid.T
    utility = (policy * rewards).sum(axis=0)
    kl = (policy * (np.log(policy) - np.log(base)[:, None])).sum(axis=0)
    return np.stack([utility, kl, best - (utility - beta * kl), best, base @ rewards, 1.0 - policy[-1]])


def _with_elsewhere(logprobs: Array) -> Array:
    """Probabilities [N + 1, L] from log-probabilities [N, L]: the last row is what is left for all other texts."""
    if logprobs.shape[0] != NUM_REPLIES:
        raise ConfigError(f"expected log-probabilities of {NUM_REPLIES} replies, got shape {logprobs.shape}")
    inside = np.maximum(np.exp(logprobs), _SMALLEST)
    elsewhere = np.maximum(1.0 - inside.sum(axis=0, keepdims=True), _SMALLEST)
    both = np.vstack([inside, elsewhere])
    shares: Array = both / both.sum(axis=0, keepdims=True)
    return shares
