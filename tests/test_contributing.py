"""The five examples of CONTRIBUTING.md: a loss, a reader, a scorer, a mechanism and a method, as their authors run them."""

from __future__ import annotations

import sys
from pathlib import Path

from document_blocks import run, script, write_files


def test_the_examples_run(tmp_path: Path) -> None:
    names = write_files("CONTRIBUTING.md", tmp_path)
    assert names == ["my_loss.py", "safe_pairs.py", "my_scorer.py", "my_steering.py", "my_method.py"]
    (tmp_path / "examples.py").write_text(script("CONTRIBUTING.md"), encoding="utf-8")
    run([sys.executable, "examples.py"], tmp_path)
    assert (tmp_path / "runs" / "steerlm" / "policy" / "policy.json").is_file()
