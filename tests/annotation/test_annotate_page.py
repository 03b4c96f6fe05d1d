"""docs/annotate.md: prompts, replies, keys, a steerable model and its answers, as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from document_blocks import blocks, run
from pluralign.data import jsonl


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    """The shell blocks in their order, on the shipped model."""
    said = [
        run(["bash", "-euo", "pipefail", "-c", block.text], tmp_path)
        for block in blocks("docs/annotate.md")
        if block.language == "bash"
    ]
    assert "12 of 12 answered, comments: 1: mine.jsonl" in said[1]
    records = list(jsonl.read(tmp_path / "mine.jsonl"))
    found = [comparison for record in records for comparison in record.comparisons]
    assert [len(record.responses) for record in records] == [2] * 6
    assert [(c.objective, c.outcome == "tie") for c in found[:4]] == [
        ("warm", False), ("concise", True), ("warm", False), ("concise", True),
    ]  # fmt: skip
    assert [c.reason for c in found[3:6]] == [None, "both ramble", None]
    assert [c.strength for c in found[-2:]] == [2.0, None]
    assert said[2].startswith("trained: ")
    assert len(said[2].splitlines()) >= 3  # and two replies
