"""docs/serve.md: feedback, training, a server in a process of its own, and every request of the page."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from document_blocks import blocks, environment, run, script

PAGE = "docs/serve.md"
ADDRESS = "http://127.0.0.1:8000"


@contextmanager
def _serving(line: str, folder: Path) -> Iterator[str]:
    """The page's own command, on a free port; the address that it says."""
    command = shlex.split(line.replace("--port 8000", "--port 0"))
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            assert said.startswith("serving desk on http://"), said
            yield said.split()[3]
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    shell = [block.text for block in blocks(PAGE) if block.language == "bash"]
    begin = next(place for place, text in enumerate(shell) if text.startswith("pluralign serve"))
    for text in shell[:begin]:
        run(["bash", "-euo", "pipefail", "-c", text], tmp_path)
    with _serving(shell[begin], tmp_path) as address:
        asked = shell[begin + 1].replace(ADDRESS, address)
        assert '"steering":{"weights":{"helpful":0.7,"funny":0.3}}' in run(["bash", "-c", asked], tmp_path)
        (tmp_path / "page.py").write_text(script(PAGE).replace(ADDRESS, address), encoding="utf-8")
        said = run([sys.executable, "page.py"], tmp_path).splitlines()
    assert said[1] == "{'weights': {'helpful': 0.7, 'funny': 0.3}}"
    assert [line.split()[0] for line in said[2:5]] == ["desk@calm", "desk@witty", "desk@helpful=0.5,funny=0.5"]
    assert said[5].startswith(
        "model invalid_value unknown objective 'fast'; allowed are: helpful, funny. Allowed: weights"
    )
