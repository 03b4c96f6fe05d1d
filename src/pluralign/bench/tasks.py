"""The work of a benchmark step: prompts, replies, and who beats whom under which weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pluralign.bench.models import FIRST_WORD
from pluralign.data.conversions.power_set import power_set
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens: `prompt` and `response` as (least, most), drawn evenly; the end token comes on top."""

    prompt: tuple[int, int]
    response: tuple[int, int]


SHORT = Lengths((128, 256), (64, 128))
LONG = Lengths((512, 512), (64, 64))
CUDA = Lengths((512, 512), (256, 256))


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and its replies, best first, as texts."""

    prompt: str
    replies: tuple[str, ...]


def items(vocabulary: int, lengths: Lengths, num: int, num_replies: int = 2, seed: int = 0) -> list[Item]:
    """`num` prompts with `num_replies` random replies each."""
    rng = np.random.default_rng(seed)

    def text(bounds: tuple[int, int]) -> str:
        size = rng.integers(bounds[0], bounds[1] + 1)
        return " ".join(f"w{number}" for number in rng.integers(FIRST_WORD, vocabulary, size))

    return [Item(text(lengths.prompt), tuple(text(lengths.response) for _ in range(num_replies))) for _ in range(num)]


def plain(chosen: list[Item]) -> list[Group]:
    """Every reply beats all that come after it: one pair for two replies, six for four. No condition."""
    return [Group(user(item.prompt), item.replies, preferences=tuple(_all_pairs(len(item.replies)))) for item in chosen]


def _all_pairs(num: int) -> list[Preference]:
    return [Preference(0, better, worse) for better in range(num) for worse in range(better + 1, num)]


def pairwise(chosen: list[Item]) -> list[Group]:
    """The same pairs, each with a prompt of its own (the last word differs), so that only pairs can share a prefix."""
    groups = []
    for item in chosen:
        for number, pair in enumerate(_all_pairs(len(item.replies))):
            prompt = f"{item.prompt.rpartition(' ')[0]} w{FIRST_WORD + number}"
            texts = (item.replies[pair.chosen], item.replies[pair.rejected])
            groups.append(Group(user(prompt), texts, preferences=(Preference(0, 0, 1),)))
    return groups


def objectives(num: int) -> list[Objective]:
    """K objectives o0, o1, ..."""
    return [Objective(f"o{number}") for number in range(num)]


def conditioned(chosen: list[Item], num_objectives: int, wins: int) -> list[Group]:
    """Pairs whose first reply wins on `wins` of `num_objectives`: 2^wins - 1 weights each (CMPO's power set)."""
    asked = objectives(num_objectives)
    groups = []
    for item in chosen:
        scores = [{o.name: float(number < wins and not place) for number, o in enumerate(asked)} for place in (0, 1)]
        replies = tuple(Response(text, scores=given) for text, given in zip(item.replies, scores, strict=True))
        groups += power_set(Record(user(item.prompt), replies), asked)
    return groups


def scaled(lengths: Lengths, share: float) -> Lengths:
    """Shorter lengths, for a quick look."""

    def shorter(bounds: tuple[int, int]) -> tuple[int, int]:
        return max(1, round(bounds[0] * share)), max(1, round(bounds[1] * share))

    return replace(lengths, prompt=shorter(lengths.prompt), response=shorter(lengths.response))
