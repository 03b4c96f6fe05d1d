"""Progress: a bar in a terminal, now and then a plain line elsewhere, nothing where the logger is quiet."""

import logging
import os
import pty
import subprocess
import sys

from pluralign.training import progress
from pluralign.training.progress import Progress

PROGRAM = """
import logging, sys
logging.getLogger("pluralign").setLevel(sys.argv[1])
from pluralign.training.progress import Progress
with Progress("training", 3) as bar:
    for step in range(3):
        bar.advance(note=f"loss {step}")
"""


def run_in_terminal(level: str) -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", PROGRAM, level], stdout=theirs, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:  # Linux ends a pseudo-terminal whose other side is closed with an error
        pass
    os.close(ours)
    return text.decode()


def test_a_bar_in_a_terminal_unless_quiet():
    shown = run_in_terminal("INFO")
    assert "training" in shown
    assert "3/3" in shown
    assert "loss 2" in shown
    assert run_in_terminal("WARNING") == ""


def test_plain_lines_now_and_then_elsewhere(caplog):
    with caplog.at_level(logging.INFO, "pluralign"), Progress("training", 100) as bar:
        bar.advance(10, "loss 0.5")
        assert not caplog.messages  # not yet
        bar._next_line = 0.0
        bar.advance(10, "loss 0.4")
        bar.advance(80, "loss 0.1")
    assert caplog.messages == ["training: 20 of 100, loss 0.4"]
    assert progress.SECONDS_BETWEEN_LINES >= 1
