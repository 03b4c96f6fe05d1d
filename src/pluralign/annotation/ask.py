"""One sitting: questions on the screen, keys from the person, every answer on the disk before the next question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pluralign.annotation import journal
from pluralign.annotation.desk import Desk, Replies, set_up
from pluralign.annotation.feedback import Given, unused
from pluralign.annotation.journal import Header, Journal
from pluralign.annotation.keys import keyboard
from pluralign.annotation.questions import Mode, asked_objectives
from pluralign.annotation.screen import Screen
from pluralign.annotation.session import Key, Session, State
from pluralign.data.dataset import Dataset
from pluralign.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller asks for; None: as this annotator began, else mode auto, the file's objectives, seed 0, no group."""

    annotator: str = "me"
    group: str | None = None
    mode: Mode | None = None
    objectives: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Sitting:
    """What stands after a sitting: of this annotator, and of everyone in the file."""

    answered: int
    questions: int
    comments: int
    waiting: int
    annotators: int
    unasked: int = field(default=0)
    """records that this mode has no question for: no reply, or a single one to compare"""
    unused: Mapping[str, int] = field(default_factory=dict)
    """own answers by objective that training will not use, since the source has scores of its own there"""


def ask(
    out: Path,
    source: str,
    read: Callable[[], Dataset],
    wishes: Wishes,
    replies: Replies | None = None,
    file: int = 0,
    screen: Screen | None = None,
) -> Sitting:
    """Ask one annotator about the records of a source, from where they stopped, and write `out` at the end.

    Ctrl-C and signals leave the same way (KeyboardInterrupt, SystemExit), after `out` is written. Raises ConfigError for
    settings that differ from those the annotator began with, or when there is nothing to ask.
    """
    screen = screen or Screen()
    desk = set_up(out, source, read, replies)
    try:
        path = journal.path_of(desk.folder, wishes.annotator)
        header = _header(path, wishes, desk)
        session = desk.session(header)
        if not len(session.plan):
            raise ConfigError(_nothing(header.mode))
        desk.check(header)
        with Journal(path, header) as book:
            state = session.resume(book.events)
            desk.write_result()  # what a crash kept out of it
            try:
                _sit(session, state, desk, book, screen, file)
            finally:
                people = desk.write_result()
        return _sitting(session, people, desk)
    finally:
        desk.close()


def _sit(session: Session, state: State, desk: Desk, book: Journal, screen: Screen, file: int) -> None:
    try:
        with keyboard(file, screen.tell) as keys:
            while not state.ended:
                question = session.question(state)
                screen.draw(session, state, desk.record(question.record) if question else None)
                state = _next(session, state, keys, book, screen)
    finally:
        screen.leave()


def _next(session: Session, state: State, keys: Iterator[Key], book: Journal, screen: Screen) -> State:
    key = next(keys)
    if key.kind == "redraw":
        screen.lost()
    after, event = session.press(state, key)
    if event is not None:
        book.append(event)
    return after


def _header(path: Path, wishes: Wishes, desk: Desk) -> Header:
    """The settings that the annotator began with; wishes that differ from them raise ConfigError."""
    known = desk.header.objectives
    if not wishes.annotator or (wishes.seed is not None and wishes.seed < 0):
        raise ConfigError("an annotator has an id that is not empty, and a seed is 0 or more")
    if not journal.begun(path):
        mode: Mode = wishes.mode or "auto"
        objectives = asked_objectives(wishes.objectives or "", known, mode)
        return Header(wishes.annotator, wishes.group, mode, objectives, wishes.seed or 0)
    began = journal.read(path)[0]
    wished = {"group": wishes.group, "mode": wishes.mode, "seed": wishes.seed}
    if wishes.objectives is not None:
        wished["objectives"] = asked_objectives(wishes.objectives, began.objectives, began.mode)  # type: ignore[assignment]
    for name, value in wished.items():
        if value is not None and value != getattr(began, name):
            raise ConfigError(
                f"{began.annotator!r} began {desk.out} with another {name}; leave --{name} out to go on, "
                "or choose another --out or --annotator"
            )
    return began


def _nothing(mode: Mode) -> str:
    wanted = {"compare": "no prompt has two replies to compare", "rate": "no prompt has a reply to rate"}
    told = wanted.get(mode, "no prompt has a reply")
    return f"there is nothing to ask: {told}; draw replies with --policy MODEL, or choose another --mode"


def _sitting(session: Session, people: list[Given], desk: Desk) -> Sitting:
    own = next(person for person in people if person.rater.id == session.annotator)
    plan = session.plan
    unasked = sum((num == 0 if plan.mode != "compare" else num < 2) for num in plan.replies)
    vain = sum((unused(desk.record(number), said) for number, said in own.by_record.items()), Counter[str]())
    return Sitting(own.answers, len(plan), own.comments, own.waiting, len(people), unasked, dict(vain))
