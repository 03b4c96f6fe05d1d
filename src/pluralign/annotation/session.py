"""One person at work, without a terminal: keys go in, events come out, and what stands is a fold of the events.

fold(fold(state, event), Undone()) == state        for every answer and every comment
a session that is resumed is the fold of its journal, so it equals the one that was never interrupted
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pluralign.annotation.events import Commented, Compared, Event, Rated, Undone
from pluralign.annotation.questions import Plan, Question, keyed, swapped
from pluralign.errors import DataError

Kind = Literal["char", "enter", "backspace", "cancel", "paste", "redraw", "end"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: a character, a pasted text, or a key that types nothing. "end" is the end of the input."""

    kind: Kind
    text: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What stands (`events`, none of them undone; `answered` of them are answers) and what is half typed.

    `entry` is the text being typed: a comment, or a number that needs more than one key. `strength` is what the next
    verdict carries.
    """

    events: tuple[Event, ...] = ()
    answered: int = 0
    typing: Literal["", "comment", "number", "strength"] = ""
    entry: str = ""
    strength: float | None = None
    helps: bool = False
    ended: bool = False
    notice: str = field(default="", compare=False)


Step = tuple[State, Event | None]


def fold(state: State, event: Event) -> State:
    """The state after an event; whatever was half typed is gone."""
    if isinstance(event, Undone):
        kept, last = state.events[:-1], state.events[-1:]
        return State(kept, state.answered - sum(not isinstance(item, Commented) for item in last))
    return State((*state.events, event), state.answered + (not isinstance(event, Commented)))


@dataclass(frozen=True, slots=True)
class Session:
    """The questions of one annotator, in the order and on the sides that `seed` says."""

    plan: Plan
    annotator: str = "me"
    seed: int = 0

    def question(self, state: State) -> Question | None:
        """The one on the screen; None when everything is answered."""
        return self.plan[state.answered] if state.answered < len(self.plan) else None

    def swapped(self, question: Question) -> bool:
        """Whether the second reply is shown as A."""
        return swapped(question, self.seed, self.annotator)

    def resume(self, events: Iterable[Event]) -> State:
        """The state that the events of a journal lead to. Raises DataError for an event out of its place."""
        answers = _Stack(self.plan)
        for event in events:
            answers.add(event)
        return State(tuple(answers.events), answers.answered)

    def press(self, state: State, key: Key) -> Step:
        """(the state after the key, the event to keep or None)."""
        state = replace(state, notice="", helps=False)
        if key.kind == "end":  # a comment that waits for its Enter is kept
            half, event = self._typed(state, Key("enter")) if state.typing == "comment" else (state, None)
            return replace(half, ended=True, typing="", entry=""), event
        if key.kind == "redraw":
            return state, None
        if state.typing in ("comment", "number"):
            return self._typed(state, key)
        if key.kind == "paste":
            return replace(state, notice="nothing is pasted here; press c first to paste a comment"), None
        if key.kind == "cancel" or (key.kind == "enter" and state.typing == ""):
            return replace(state, typing="", strength=None), None
        return self._command(state, key.text.lower() if key.kind == "char" else "")

    # -- single keys -----------------------------------------------------------------------------------------------

    def _command(self, state: State, key: str) -> Step:
        if state.typing == "strength":
            return _strength(state, key)
        if key == "q":
            return replace(state, ended=True), None
        if key == "?":
            return replace(state, helps=True), None
        if key == "u":
            return self._undo(state)
        question = self.question(state)
        if question is None:
            return replace(state, notice="everything is answered: q leaves, u takes the last answer back"), None
        if key == "c":
            return replace(state, typing="comment"), None
        return (self._compared if question.compares else self._rated)(state, question, key)

    def _undo(self, state: State) -> Step:
        if not state.events:
            return replace(state, notice="there is nothing to take back"), None
        what = "the comment" if isinstance(state.events[-1], Commented) else "the last answer"
        return replace(fold(state, Undone()), notice=f"{what} is taken back"), Undone()

    def _rated(self, state: State, question: Question, key: str) -> Step:
        if key == "k":
            return _done(state, Rated(question.number, None))
        if not keyed(question.objective) and key and key in "0123456789-.":
            return replace(state, typing="number", entry=key), None
        if not keyed(question.objective) or not (key.isascii() and key.isdigit()):
            return replace(state, notice=_unknown(key)), None
        return _score(state, question, key)

    def _compared(self, state: State, question: Question, key: str) -> Step:
        turned = self.swapped(question)
        if key == "s":
            return replace(state, typing="strength", strength=None), None
        if key == "k":
            return _done(state, Compared(question.number, "abstain", None, turned))
        if key == "=":
            return _done(state, Compared(question.number, "tie", None, turned))
        if key not in ("a", "b"):
            return replace(state, notice=_unknown(key)), None
        outcome: Literal["first", "second"] = "first" if (key == "a") != turned else "second"
        return _done(state, Compared(question.number, outcome, state.strength, turned))

    # -- typed text ------------------------------------------------------------------------------------------------

    def _typed(self, state: State, key: Key) -> Step:
        question = self.question(state)
        if key.kind == "cancel" or question is None:
            return replace(state, typing="", entry=""), None
        if key.kind == "enter":
            return self._entered(state, question)
        entry = state.entry[:-1] if key.kind == "backspace" else state.entry + key.text
        return replace(state, entry=entry), None

    def _entered(self, state: State, question: Question) -> Step:
        if state.typing == "number":
            return _score(replace(state, typing="", entry=""), question, state.entry)
        if not state.entry.strip():
            return replace(state, typing="", entry=""), None
        event = Commented(question.number, state.entry.strip())
        kept = replace(fold(state, event), strength=state.strength)  # a strength that waits for its verdict stays
        return replace(kept, notice="the comment is kept; now the answer"), event


@dataclass(slots=True)
class _Stack:
    """`fold` for many events at once, checked; appending to a tuple each time would be quadratic."""

    plan: Sequence[Question]
    events: list[Event] = field(default_factory=list)
    answered: int = 0

    def add(self, event: Event) -> None:
        if isinstance(event, Undone):
            if not self.events:
                raise DataError("takes back an answer, and there is none")
            self.answered -= not isinstance(self.events.pop(), Commented)
            return
        if event.question != self.answered or event.question >= len(self.plan):
            raise DataError(f"answers question {event.question}, expected {self.answered} of {len(self.plan)}")
        if not isinstance(event, Commented):
            _check_kind(event, self.plan[event.question])
        self.answered += not isinstance(event, Commented)
        self.events.append(event)


def _check_kind(event: Rated | Compared, question: Question) -> None:
    if isinstance(event, Compared) != question.compares:
        raise DataError(f"question {question.number} is not of the kind that was answered")
    low, high = question.objective.low, question.objective.high
    if isinstance(event, Rated) and event.score is not None and not low <= event.score <= high:
        raise DataError(f"question {question.number}: {event.score:g} is outside [{low:g}, {high:g}]")


def _done(state: State, event: Rated | Compared) -> Step:
    return fold(state, event), event


def _score(state: State, question: Question, typed: str) -> Step:
    try:
        score = float(typed)
    except ValueError:
        score = math.nan
    low, high = question.objective.low, question.objective.high
    if not low <= score <= high:
        return replace(state, notice=f"{question.objective.name} runs from {low:g} to {high:g}"), None
    return _done(state, Rated(question.number, score))


def _strength(state: State, key: str) -> Step:
    if key.isascii() and key.isdigit() and key != "0":
        return replace(state, typing="", strength=float(key)), None
    return replace(state, typing="", notice="a strength is a digit from 1 to 9"), None


def _unknown(key: str) -> str:
    named = f"{key!r} is no key here" if key else "that key does nothing here"
    return f"{named}; ? shows the keys"
