"""Real processes on a real terminal of their own: killed, interrupted, hung up, and made narrower while they ask."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluralign.data import jsonl
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user

# The process leads a session whose terminal is its standard input, as a shell would have it.
PROGRAM = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from pluralign.cli import main; sys.exit(main(sys.argv[1:]))"
)
PATIENCE = 60.0


class Terminal:
    """A terminal of 80 columns with `pluralign data annotate` in it."""

    def __init__(self, source: Path, out: Path) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(80)
        command = [sys.executable, "-c", PROGRAM, "data", "annotate", str(source), "--out", str(out)]
        env = {**{key: value for key, value in os.environ.items() if key != "COLUMNS"}, "TERM": "xterm"}
        self.before = termios.tcgetattr(self.theirs)
        streams = {"stdin": self.theirs, "stdout": self.theirs, "stderr": self.theirs}
        self.process = subprocess.Popen(command, env=env, **streams)  # type: ignore[call-overload]
        self.shown = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def wait_for(self, text: str) -> str:
        """What was shown since the last wait, up to and with the text."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += os.read(self.ours, 65536).decode()
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def end(self) -> int:
        """The exit code; the terminal's settings are what they were."""
        code = self.process.wait(PATIENCE)
        if code != -signal.SIGKILL:
            assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    records = [Record(user(f"Q{num}"), (Response("reply " * 30),)) for num in range(5)]
    jsonl.write(tmp_path / "source.jsonl", records, (Objective("kind", low=1, high=5),))
    return tmp_path / "source.jsonl"


@pytest.fixture
def terminal(source: Path) -> Iterator[Terminal]:
    """The first question is on the screen."""
    found = Terminal(source, source.parent / "mine.jsonl")
    found.wait_for("question 1 of 5")
    yield found
    found.close()


def scores(source: Path) -> list[float | None]:
    replies = [record.responses[0] for record in jsonl.read(source.parent / "mine.jsonl")]
    return [rating.scores["kind"] for reply in replies for rating in reply.ratings]


def test_killed_without_warning_nothing_is_lost(terminal: Terminal, source: Path) -> None:
    terminal.type("54k")
    terminal.wait_for("question 4 of 5")
    terminal.process.kill()
    assert terminal.end() == -signal.SIGKILL
    again = Terminal(source, source.parent / "mine.jsonl")
    again.wait_for("question 4 of 5")
    again.type("u")
    again.wait_for("taken back")
    again.type("3q")
    again.wait_for("3 of 5 answered")
    assert again.end() == 0
    again.close()
    assert scores(source) == [5.0, 4.0, 3.0]


def test_ctrl_c_in_the_middle_of_a_comment(terminal: Terminal, source: Path) -> None:
    terminal.type("52cwell")
    terminal.wait_for("well")
    terminal.type("\x03")
    terminal.wait_for("stopped")
    assert terminal.end() == 130
    assert scores(source) == [5.0, 2.0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_in_order(terminal: Terminal, source: Path, number: int) -> None:
    terminal.type("5")
    terminal.wait_for("question 2 of 5")
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number
    assert scores(source) == [5.0]


def test_the_page_follows_the_window(terminal: Terminal) -> None:
    terminal.wait_for("from 1 to 5?")
    terminal.resize(30)
    terminal.process.send_signal(signal.SIGWINCH)  # a terminal of ours tells only its foreground group
    lines = terminal.wait_for("from 1 to 5?").replace("\r", "").split("\n")
    assert max(len(line) for line in lines if line.startswith("reply reply")) <= 30
    terminal.process.send_signal(signal.SIGSTOP)
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for("from 1 to 5?")  # drawn again, and keys are single ones as before
    terminal.type("1")
    terminal.wait_for("question 2 of 5")
    terminal.type("q")
    assert terminal.end() == 0
