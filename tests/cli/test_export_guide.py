"""docs/export.md: its commands are run as they stand, on a small run with objectives of other names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from document_blocks import blocks

if TYPE_CHECKING:
    from tests.cli.conftest import Command

GUIDE = "docs/export.md"


def test_the_guides_commands_do_what_it_says(pluralign: Command, run_folder: Path, tmp_path: Path) -> None:
    [presets] = [block.text for block in blocks(GUIDE) if block.language == "json"]
    assert json.loads(presets).keys() == {"calm", "short"}
    (tmp_path / "presets.json").write_text(presets.replace("helpful", "kind"))
    lines = [line for block in blocks(GUIDE) if block.language == "sh" for line in block.text.splitlines()]
    assert len(lines) == 6 and all(line.startswith("pluralign export runs/desk ") for line in lines)
    for line in lines:
        words = [word.replace("helpful", "kind") for word in shlex.split(line)[1:]]
        words[1], words[words.index("--out") + 1] = str(run_folder), str(tmp_path / words[-1])
        words = [str(tmp_path / word) if word == "presets.json" else word for word in words]
        found = pluralign(*words)
        if "--gguf" in words:  # the run's tokenizer is word-level
            assert found.code == 2 and "no exact GGUF form: its model is WordLevel" in found.err
        else:
            assert found.code == 0 and "nats from the policy" in found.out, found.err
    models, loras = tmp_path / "desk-models", tmp_path / "desk-loras"
    assert (models / "presets" / "calm" / "model.safetensors").is_file()
    assert (loras / "base" / "model.safetensors").is_file() and not (loras / "objectives").exists()
