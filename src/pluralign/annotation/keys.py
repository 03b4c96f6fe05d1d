"""Keys from a terminal or from a pipe.

A terminal is read key by key and put back as it was, however the session ends. A pipe carries the same keys as text;
its line feeds end what is typed and mean nothing otherwise, and its end is the end of the session.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from pluralign.annotation.session import Key

_NAMED = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x04": "end", "\x0c": "redraw"}
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|[^\[O])", re.DOTALL)
_ESCAPE_SECONDS = 0.05
_BLOCK = 4096
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REDRAWING = (signal.SIGWINCH, signal.SIGCONT)


class Decoder:
    """Bytes as they come to keys, whatever their portions. Arrow keys and their like type nothing; a paste is one key."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    @property
    def waits(self) -> bool:
        """Whether an escape is open: it is the key of that name unless more comes at once."""
        return self._text == "\x1b"

    def feed(self, data: bytes) -> list[Key]:
        """The keys that are complete now."""
        self._text += self._utf8.decode(data)
        found = []
        while (key := self._next()) is not None:
            found.append(key)
        return [key for key in found if key.kind != "char" or key.text]

    def flush(self) -> list[Key]:
        """Nothing more came: an open escape is the key."""
        waited, self._text = self.waits, "" if self.waits else self._text
        return [Key("cancel")] if waited else []

    def _next(self) -> Key | None:
        """The next key, Key("char") for what types nothing, None where more is needed."""
        if not self._text:
            return None
        if self._text[0] == "\x1b":
            return self._sequence()
        letter, self._text = self._text[0], self._text[1:]
        if letter in _NAMED:
            return Key(_NAMED[letter])  # type: ignore[arg-type]
        return Key("char", letter if letter.isprintable() or letter == "\t" else "")

    def _sequence(self) -> Key | None:
        if self._text.startswith(_PASTE):
            pasted, end, after = self._text[len(_PASTE) :].partition(_PASTED)
            self._text = after if end else self._text
            return Key("paste", pasted.replace("\r\n", "\n").replace("\r", "\n")) if end else None
        found = _SEQUENCE.match(self._text)
        if found:
            self._text = self._text[found.end() :]
        return Key("char") if found else None


class _Signals:
    """While entered: signals are taken between two keys, so that an answer is never interrupted half-way.

    The pipe is the interpreter's wake-up descriptor: a signal may reach another thread of the process (those of a
    library for matrices), and then nothing but the pipe ends the main thread's wait.
    """

    def __init__(self, on_continue: Callable[[], object]) -> None:
        self.pipe = os.pipe()
        self.caught: list[int] = []
        self._on_continue = on_continue
        self._before: dict[int, Any] = {}
        self._woken = -1

    def __enter__(self) -> _Signals:
        os.set_blocking(self.pipe[1], False)
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._catch) for number in (*_ENDING, *_REDRAWING)}
            self._woken = signal.set_wakeup_fd(self.pipe[1], warn_on_full_buffer=False)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before:
            signal.set_wakeup_fd(self._woken)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in self.pipe:
            os.close(end)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.caught.append(number)

    def keys(self) -> list[Key]:
        """What the caught signals mean: KeyboardInterrupt, SystemExit (128 + its number), or a key that redraws."""
        if select.select([self.pipe[0]], [], [], 0)[0]:
            os.read(self.pipe[0], _BLOCK)
        caught, self.caught = self.caught, []
        for number in caught:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            if number in _ENDING:
                raise SystemExit(128 + number)
        if signal.SIGCONT in caught:
            self._on_continue()
        return [Key("redraw")] if caught else []


@contextlib.contextmanager
def keyboard(file: int, tell: Callable[[str], None]) -> Iterator[Iterator[Key]]:
    """The keys of a file descriptor; one "end" comes last. `tell` sends a control sequence to the terminal, if it can.

    While it is entered, Ctrl-C raises KeyboardInterrupt and SIGTERM or SIGHUP SystemExit, both where a key is awaited.
    """
    if os.isatty(file):
        with _raw(file, tell) as again, _Signals(again) as signals:
            yield _keys(file, signals, Decoder())
    else:
        with _Signals(lambda: None) as signals:
            yield _keys(file, signals, Decoder())


@contextlib.contextmanager
def _raw(file: int, tell: Callable[[str], None]) -> Iterator[Callable[[], object]]:
    """The terminal gives single keys, without echo; yields what does so again after the process was suspended."""
    import termios
    import tty

    before = termios.tcgetattr(file)

    def again() -> None:
        tty.setcbreak(file, termios.TCSADRAIN)  # what was typed already is kept
        tell("\x1b[?2004h")  # a paste is announced as one

    again()
    try:
        yield again
    finally:
        tell("\x1b[?2004l")
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _keys(file: int, signals: _Signals, decoder: Decoder) -> Iterator[Key]:
    while True:
        wait = _ESCAPE_SECONDS if decoder.waits else None
        ready = select.select([file, signals.pipe[0]], [], [], wait)[0]
        yield from signals.keys()
        if not ready:
            yield from decoder.flush()
        if file not in ready:
            continue
        try:
            data = os.read(file, _BLOCK)
        except OSError:  # the terminal is gone
            data = b""
        yield from decoder.feed(data)
        if not data:
            yield from decoder.flush()
            yield Key("end")
            return
