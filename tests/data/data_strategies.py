"""Hypothesis strategies for conditions and records, and a few small records, shared by the tests of data/."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from pluralign.data.condition import Feedback, Targets, Weights
from pluralign.data.objective import Objective
from pluralign.data.record import (
    Comment,
    Comparison,
    Message,
    Ranking,
    Rater,
    Rating,
    Record,
    Response,
    Span,
    Vote,
    user,
)

OBJECTIVES = tuple(Objective(name, high=4.0) for name in ("helpful", "brief", "kind"))
NAMES = tuple(objective.name for objective in OBJECTIVES)

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=12)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_\-]{0,6}", fullmatch=True)
numbers_by_name = st.dictionaries(names, finite, min_size=1, max_size=4)
conditions = st.one_of(
    st.builds(Weights, numbers_by_name, finite),
    st.builds(Targets, numbers_by_name, finite),
    st.builds(Feedback, st.text(min_size=1).filter(str.strip), finite),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
extras = st.dictionaries(words, plain, max_size=2)
scores = st.dictionaries(st.sampled_from(NAMES), st.none() | st.floats(0, 4), max_size=3)
maybe = lambda strategy: st.none() | strategy  # noqa: E731
raters = maybe(st.builds(Rater, maybe(words), maybe(words), maybe(words), st.dictionaries(words, words, max_size=2)))
objective = st.none() | st.sampled_from(NAMES)
few = lambda strategy, most=2: st.lists(strategy, max_size=most).map(tuple)  # noqa: E731


@st.composite
def responses(draw: st.DrawFn) -> Response:
    text = draw(words)
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).filter(lambda ends: ends[0] < ends[1])
    spans = few(st.builds(lambda ends, *rest: Span(*ends, *rest), places, words, maybe(finite), raters))
    return Response(
        text,
        draw(scores),
        draw(few(st.builds(Rating, scores, raters))),
        draw(few(st.builds(Comment, words, objective, raters))),
        draw(spans) if text else (),
        draw(few(st.builds(Vote, st.sampled_from(["agree", "disagree", "pass"]), st.integers(1, 9), raters))),
        draw(st.sampled_from([None, "up", "down"])),
        draw(maybe(conditions)),
        draw(st.booleans()),
        draw(maybe(words)),
        draw(extras),
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    before = draw(few(st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), words)))
    replies = draw(few(responses(), 3))
    pairs = [(i, j) for i in range(len(replies)) for j in range(len(replies)) if i != j]
    outcomes = st.sampled_from(["first", "second", "tie", "abstain"])
    strength = maybe(st.floats(0, 1e6, exclude_min=True))
    comparison = (
        st.builds(
            lambda pair, *rest: Comparison(*pair, *rest),
            st.sampled_from(pairs), outcomes, objective, strength, raters, maybe(words),
        )
        if pairs
        else st.nothing()
    )  # fmt: skip
    ranking = (
        st.builds(lambda order, cut, *rest: Ranking(_tiers(order, cut), *rest),
                  st.permutations(range(len(replies))), st.integers(1, 3), objective, raters)
        if replies
        else st.nothing()
    )  # fmt: skip
    return Record(
        (*before, Message("user", draw(words))),
        replies,
        draw(few(comparison)) if pairs else (),
        draw(few(ranking)) if replies else (),
        draw(words),
        draw(maybe(words)),
        draw(maybe(words)),
        draw(extras),
    )


def _tiers(order: Sequence[int], cut: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(order[place : place + cut]) for place in range(0, len(order), cut))


def scored(*rows: Sequence[float | None], allowed: Sequence[str] = NAMES) -> Record:
    """A record whose responses r0, r1, ... carry these scores; None is left out (missing)."""
    replies = tuple(
        Response(
            f"r{place}", {name: float(score) for name, score in zip(allowed, row, strict=True) if score is not None}
        )
        for place, row in enumerate(rows)
    )
    return Record(user("How?"), replies)
