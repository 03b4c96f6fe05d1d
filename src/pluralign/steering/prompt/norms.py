"""Prompt steering by norms: the rules that bear on a question stand before it, taken from stores outside the model.

    the k norms whose embeddings have the largest cosine with the question's, of the stores that are asked for

Words name stores ("law", or "law, privacy"); weights over objectives that have a store of their name share out the k places
(largest remainders). Nothing is trained: steering is the choice of a store, and a store can be changed at any time.
A strength is guidance: away from what the model says without norms (`text.py`, at the price of a second row).

An embedding is a vector of words, tf · idf over all norms (`embedding="words"`: exact, knows no synonyms), or the mean of
the trunk's last hidden states, less the mean of all norms ("states"). Source: Xu et al. 2023, arXiv 2312.15907
(methods.md A23; the paper embeds with a model of its own; k = 5 and the cosine are our choice).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from pluralign.data.condition import Condition, Feedback, Weights
from pluralign.data.objective import Objective
from pluralign.data.record import Message
from pluralign.encoding import CONDITION, Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.steering.contract import DeltaSteering, reference_coefficients, spoken
from pluralign.steering.surgery import DeltaSpec, install

Floats = NDArray[np.float64]
_WORD = re.compile(r"\w+")
INTRODUCTION = "Answer in keeping with these norms:"


@dataclass
class PromptNorms(DeltaSteering):
    """The base, and stores of norms."""

    kind: ClassVar[str] = "prompt_norms"
    accepts: ClassVar[tuple[type, ...]] = (Feedback, Weights)

    norms: tuple[tuple[str, str, str, str], ...] = ()
    """(store, text, source, topic) of each norm; filled from the files of stores"""
    num: int = 5
    """norms before a question (k)"""
    embedding: Literal["words", "states"] = "words"
    """what is compared: words (tf · idf) or the trunk's mean hidden states"""

    def __post_init__(self) -> None:
        self.norms = tuple((store, text, source, topic) for store, text, source, topic in self.norms)
        if self.num < 1:
            raise ConfigError(f"num counts the norms before a question, at least 1; got {self.num}")
        if self.embedding not in ("words", "states"):
            raise ConfigError(f"embedding is words or states, got {self.embedding!r}")

    @property
    def reference_inside(self) -> bool:
        """Always: the model is the base."""
        return True

    @property
    def stores(self) -> list[str]:
        """Their names, each once."""
        return list(dict.fromkeys(store for store, *_ in self.norms))

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Freeze the model, and keep it at hand to embed questions. ConfigError without norms."""
        if not self.norms:
            raise ConfigError("there are no norms to follow; give files of them with --stores")
        self._objectives = tuple(objectives)
        self._state = install(  # type: ignore[misc]
            model, DeltaSpec(), self.expand, self.num_changes(objectives) + 2
        )
        texts = [f"{topic} {text}" for _, text, _, topic in self.norms]
        self._similar = lru_cache(maxsize=1024)(
            _by_words(texts) if self.embedding == "words" else _by_states(texts, model, encoder)
        )

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Condition:
        """Names of stores, or weights over objectives with a store; ConditionError for anything else."""
        if not isinstance(condition, Feedback | Weights):
            raise ConditionError(f"this policy follows norms: name a store ({self._known()}), not {condition}")
        self.places(condition)
        return condition

    def _known(self) -> str:
        return ", ".join(self.stores)

    def _shares(self, condition: Condition) -> dict[str, float]:
        """How much of the places each asked store gets."""
        if isinstance(condition, Feedback):
            return dict.fromkeys((name.strip() for name in condition.text.split(",")), 1.0)
        assert isinstance(condition, Weights), "translate first"
        if min(condition.values.values()) < 0:
            raise ConditionError(f"{condition}: a store cannot be followed by less than nothing; give weights from 0")
        return {name: weight for name, weight in condition.values.items() if weight > 0}

    def places(self, condition: Condition) -> dict[str, int]:
        """How many norms of each store stand before a question: shares of `num`, largest remainders first.

        ConditionError for a store that there is not, and for weights of nothing.
        """
        shares = self._shares(condition)
        unknown = [name for name in shares if name not in self.stores]
        if unknown or not shares:
            raise ConditionError(
                f"no store of norms is called {', '.join(map(repr, unknown)) or 'nothing'}; there are: {self._known()}"
            )
        wanted = {name: self.num * share / sum(shares.values()) for name, share in shares.items()}
        found = {name: int(value + 1e-9) for name, value in wanted.items()}
        for name in sorted(wanted, key=lambda name: found[name] - wanted[name])[: self.num - sum(found.values())]:
            found[name] += 1
        return {name: count for name, count in found.items() if count}

    def retrieve(self, question: str, condition: Condition) -> list[tuple[str, str, str, str]]:
        """The norms that bear on a question, nearest first in each store; a store gives no more than it has."""
        similar = self._similar(question)
        chosen = []
        for store, count in self.places(condition).items():
            own = [place for place, norm in enumerate(self.norms) if norm[0] == store]
            chosen += sorted(own, key=lambda place: -similar[place])[:count]
        return [self.norms[place] for place in chosen]

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        """The dialogue behind the norms for its last user turn."""
        dialogue = spoken(messages)
        if condition is None:
            return dialogue
        question = next((m.content for m in reversed(dialogue) if m.role == "user"), "")
        said = [f"{text} ({source})" if source else text for _, text, source, _ in self.retrieve(question, condition)]
        rules = "\n".join(f"{number}. {text}" for number, text in enumerate(said, start=1))
        return (Message(CONDITION, f"{INTRODUCTION}\n{rules}"), *dialogue)

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """One row; with a strength other than 1, one with the norms and one without."""
        if condition is None or condition.strength == 1.0:
            return [(condition, 1.0)]
        return [(replace(condition, strength=1.0), condition.strength), (None, 1.0 - condition.strength)]

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError for norms: they differ with the question, and no weights hold them."""
        if condition is not None:
            raise ModelError("norms are looked up for every question and cannot be merged; leave the condition out")

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2] of the base, whatever the row."""
        return reference_coefficients(len(conditions), self.num_changes(objectives))

    def expand(self, steer: Tensor) -> Tensor:
        """Always raises: no parameter is steered."""
        raise ConditionError("this policy is steered by norms in its prompt and has no steer=")

    def trunk_columns(self) -> list[int]:
        """None: the condition is text."""
        return []

    def cache_key(self, condition: Condition | None) -> Hashable:
        """Constant: what differs are the tokens."""
        return None

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


Similar = Callable[[str], Floats]


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))


def _by_words(texts: Sequence[str]) -> Similar:
    """Cosines [N] of a text with each of `texts`: tf · idf, idf = 1 + log((1 + N)/(1 + documents with the word))."""
    counted = [_words(text) for text in texts]
    column = {word: place for place, word in enumerate(dict.fromkeys(word for each in counted for word in each))}
    documents = np.bincount([column[word] for each in counted for word in each], minlength=len(column))
    idf = 1 + np.log((1 + len(texts)) / (1 + documents))

    def vectors(rows: Sequence[Counter[str]]) -> sparse.csr_array:
        found = [(row, column[w], n * idf[column[w]]) for row, each in enumerate(rows) for w, n in each.items() if w in column]  # fmt: skip
        where, what, size = zip(*found, strict=True) if found else ((), (), ())
        made = sparse.csr_array((np.array(size, float), (where, what)), shape=(len(rows), len(column)))
        norm = np.sqrt(np.asarray(made.multiply(made).sum(axis=1)).ravel())
        return sparse.csr_array(made.multiply(1 / np.where(norm > 0, norm, 1.0)[:, None]))

    known = vectors(counted)
    return lambda text: np.asarray((known @ vectors([_words(text)]).T).toarray()[:, 0])


def _by_states(texts: Sequence[str], model: Any, encoder: Encoder) -> Similar:
    """Cosines [N] of centred mean hidden states; the texts are embedded when the first question comes."""

    @torch.no_grad()
    def mean(text: str) -> Floats:
        ids = encoder.text_ids(text) or [encoder.end_id]
        device = model.get_input_embeddings().weight.device
        states = model.get_decoder()(input_ids=torch.tensor([ids], device=device)).last_hidden_state[0]
        return np.asarray(states.double().mean(0).cpu().numpy())

    @lru_cache(maxsize=1)
    def known() -> tuple[Floats, Floats]:
        rows = np.stack([mean(text) for text in texts])
        centre = rows.mean(0) if len(rows) > 1 else np.zeros(rows.shape[1])
        return _unit(rows - centre), centre

    def similar(text: str) -> Floats:
        rows, centre = known()
        return np.asarray(rows @ _unit(mean(text) - centre))

    return similar


def _unit(rows: Floats) -> Floats:
    size = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(size > 0, size, 1.0))
