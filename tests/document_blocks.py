"""The code blocks of a Markdown document, run as a reader would: in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line where it begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file it is to be saved as: "# name.py" in its first line."""
        found = _FILE.match(self.text)
        return found[1] if found and self.language == "python" else None


def blocks(document: str) -> list[Block]:
    """All fenced blocks of a document in the repository's root."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 2) for match in _BLOCK.finditer(text)]


def write_files(document: str, folder: Path) -> list[str]:
    """Save the document's named blocks; their names."""
    named = [(block.file, block.text) for block in blocks(document) if block.file]
    for name, text in named:
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in named]


def environment(folder: Path) -> dict[str, str]:
    """This environment with our own commands first, and nothing taken from the terminal."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": paths, "PYTHONPATH": str(folder), "COLUMNS": "100"}


def run(command: list[str], folder: Path) -> str:
    """Run a command in the folder; its output. The test fails with what it wrote where it fails."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def script(document: str) -> str:
    """The unnamed Python blocks as one script, each on the line where it stands in the document."""
    lines: list[str] = []
    for block in blocks(document):
        if block.language == "python" and not block.file:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"
