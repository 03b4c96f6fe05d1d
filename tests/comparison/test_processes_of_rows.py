"""Rows' processes: whoever stops a comparison leaves none of them behind (comparison/processes.py)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Whoever runs the tests in the background may have them ignore Ctrl-C.
SCRIPT = (
    "import signal, sys, pathlib; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from pluralign.comparison.processes import run_all; list(run_all([pathlib.Path(sys.argv[1])], 1))"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_rows_too(number: signal.Signals, tmp_path: Path) -> None:
    """The row has no job, so that it would say so in its log if it lived on; it needs a second or so to begin."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=subprocess.DEVNULL)
    log = tmp_path / "log.txt"
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.15)  # the file is opened just before the row's process begins
    process.send_signal(number)
    assert process.wait(30) in (128 + number, -number)
    children = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)]
    assert not children
    assert "job.json" not in log.read_text()


def test_without_a_signal_the_row_says_what_it_lacks(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True)
    assert "job.json" in (tmp_path / "log.txt").read_text()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
