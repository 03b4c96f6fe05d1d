"""What the annotator sees, on standard error: plain lines under headings, nothing at their sides.

No frames: a border beside right-to-left text would be torn apart. No meaning by colour alone. On a terminal the page
is drawn anew for each question; elsewhere the pages follow one another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from pluralign.annotation.questions import Question, keyed
from pluralign.annotation.session import Session, State
from pluralign.annotation.visible_text import visible
from pluralign.data.record import Record

HELP = (
    "a, b     that reply is better",
    "=        they are equally good",
    "s 1..9   before a or b: how much better, from 1 (a little) up",
    "0..9     the rating; where the range is wider, the number and Enter",
    "k        skip: you were asked, and would rather not say",
    "c        a comment on what you see; Enter keeps it, Esc does not",
    "u        take back the last answer or comment, those of earlier sessions too",
    "q        leave; everything is kept, and the next session goes on here",
)


class Screen:
    """Draws pages and, under them, the line that is being typed."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._drawn: tuple[object, ...] = ()

    def draw(self, session: Session, state: State, record: Record | None) -> None:
        """Show the state; a key that only adds a letter to what is typed redraws one line.

        Where pages follow one another, texts that stand in the page before are not repeated.
        """
        question = session.question(state)
        texts = None if question is None else (question.record, question.replies)
        page = (texts, state.events, state.helps, state.notice, state.typing, state.strength, self.console.size)
        if page != self._drawn:
            self.console.clear()
            if (
                question is not None
                and record is not None
                and (self.console.is_terminal or self._drawn[:1] != (texts,))
            ):
                self._print(_texts(session, question, record))
            self._print(_below(session, state, question))
            self._drawn = page
        if state.typing and self.console.is_terminal:
            self._typed_line(state)

    def _print(self, parts: Iterable[Text | Rule]) -> None:
        for part in parts:
            self.console.print(part)

    def lost(self) -> None:
        """The terminal may show something else by now: the next page is drawn whatever was drawn before."""
        self._drawn = ()

    def tell(self, sequence: str) -> None:
        """A control sequence, where there is a terminal that knows any."""
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            with contextlib.suppress(OSError):  # it may be gone already
                self.console.file.write(sequence)
                self.console.file.flush()

    def leave(self) -> None:
        """End the line that was being typed, if there is one."""
        if self._drawn and self._drawn[4] and self.console.is_terminal:
            self.console.line()

    def _typed_line(self, state: State) -> None:
        """The end of what is typed, as much as fits into the line."""
        shown = Text(visible(state.entry).replace("\n", "\u240a"), no_wrap=True)
        room = max(4, self.console.width - 4)
        while shown.cell_len > room:
            shown = shown[-max(1, len(shown) - max(1, (shown.cell_len - room) // 2)) :]
        start = "\n> " if self.console.is_dumb_terminal else "\r\x1b[K> "
        self.console.file.write(f"{start}{shown.plain}")
        self.console.file.flush()


def _texts(session: Session, question: Question, record: Record) -> Iterator[Text | Rule]:
    for turn in record.messages:
        yield _heading(turn.role)
        yield Text(visible(turn.content))
    yield from _replies(session, question, record)


def _below(session: Session, state: State, question: Question | None) -> Iterator[Text | Rule]:
    yield _heading("")
    if question is None:
        yield Text(f"All {len(session.plan)} questions are answered. q leaves, u takes the last answer back.", "bold")
    else:
        yield _progress(session, question)
        yield Text(_asks(question), "bold")
        yield Text(_keys(question, state), "dim")
    for comment in _comments(state):
        yield Text(f"your comment: {visible(comment)}")
    if state.helps:
        yield from (Text(line) for line in HELP)
    if state.notice:
        yield Text(state.notice, "italic")


def _progress(session: Session, question: Question) -> Text:
    plan = session.plan
    where = f"question {question.number + 1} of {len(plan)}, record {question.record + 1} of {len(plan.replies)}"
    return Text(f"{visible(session.annotator)}: {where}", "dim")


def _heading(title: str) -> Rule:
    return Rule(Text(title), align="left", style="dim")


def _replies(session: Session, question: Question, record: Record) -> Iterator[Text | Rule]:
    places = question.replies[::-1] if question.compares and session.swapped(question) else question.replies
    for place, title in zip(places, ("reply A", "reply B") if question.compares else ("reply",), strict=True):
        response = record.responses[place]
        yield _heading(title)
        yield Text(visible(response.text) or "(an empty reply)")
        if not response.finished:
            yield Text("(cut off here)", "dim")


def _asks(question: Question) -> str:
    objective = question.objective
    told = f" ({visible(objective.description)})" if objective.description else ""
    if question.compares:
        return f"{objective.name}{told}: which reply is better?"
    better = ", lower is better" if objective.direction == "lower" else ""
    return f"{objective.name}{told}: from {objective.low:g} to {objective.high:g}{better}?"


def _keys(question: Question, state: State) -> str:
    if state.typing == "comment":
        return "type the comment; Enter keeps it, Esc does not"
    if state.typing == "number":
        return "type the number, then Enter"
    if state.typing == "strength":
        return "how much better: 1 to 9"
    if question.compares:
        much = f" (by {state.strength:g})" if state.strength else ""
        return f"a  b{much}  = equal  s how much  k skip  c comment  u undo  q quit  ? help"
    low, high = question.objective.low, question.objective.high
    digits = f"{low:g}..{high:g}" if keyed(question.objective) else "the number and Enter"
    return f"{digits}  k skip  c comment  u undo  q quit  ? help"


def _comments(state: State) -> Iterator[str]:
    """Those on the question that is being asked."""
    for event in reversed(state.events):
        text = getattr(event, "text", None)
        if text is None:
            return
        yield text
