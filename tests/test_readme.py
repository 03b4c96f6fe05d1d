"""The README and docs/data.md: every example is run, or read, as it stands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from document_blocks import blocks, run, script
from pluralign.data.readers import registry

KNOWN = {"json", "python", "bash", "sh", "text"}


def _values(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a block, whether each stands on one line or on several."""
    decoder, values, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].lstrip()
    return values


def _records_file(document: str, path: Path) -> Path:
    """All JSON blocks of the document as one record file, one object a line."""
    found = [value for block in blocks(document) if block.language == "json" for value in _values(block.text)]
    path.write_text("".join(json.dumps(value) + "\n" for value in found), encoding="utf-8")
    return path


@pytest.mark.parametrize("document", ["README.md", "docs/data.md"])
def test_the_record_examples_are_read(document: str, tmp_path: Path) -> None:
    dataset = registry.read(_records_file(document, tmp_path / "feedback.jsonl"))
    assert dataset.reader == "jsonl"
    assert dataset.licence
    assert all(record.responses for record in dataset)
    assert dataset.count().rejected == 0


@pytest.mark.slow
def test_the_quick_start_runs(tmp_path: Path) -> None:
    """The command lines in their order, then the Python blocks as one script; make is continuous integration's own."""
    assert {block.language for block in blocks("README.md")} <= KNOWN
    _records_file("README.md", tmp_path / "feedback.jsonl")
    for block in blocks("README.md"):
        if block.language == "bash":
            run(["bash", "-euo", "pipefail", "-c", block.text], tmp_path)
    (tmp_path / "quick_start.py").write_text(script("README.md"), encoding="utf-8")
    run([sys.executable, "quick_start.py"], tmp_path)
