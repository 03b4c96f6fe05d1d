"""`pluralign data readers`: what can be read, and what each reader declares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pluralign.cli import main
from pluralign.data.readers import registry


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["data", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_readers_say_hub_licence_and_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "readers")
    assert [name for name in registry.reader_names() if f"\n{name} " not in f"\n{told}"] == []
    value = json.loads(said(capsys, "readers", "--json"))
    assert set(value) == set(registry.reader_names())
    assert (value["oasst"]["hub"], value["oasst"]["licence"]) == ("OpenAssistant/oasst1", "Apache-2.0")
    toxic = next(one for one in value["oasst"]["objectives"] if one["name"] == "toxicity")
    assert (toxic["low"], toxic["high"], toxic["direction"], toxic["safety"]) == (0, 1, "lower", True)
    assert value["jsonl"]["objectives"] is None and value["rewardbench"]["objectives"] == []
    assert all(about["columns"] for about in value.values())


def test_one_reader(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "readers", "pku_saferlhf")
    assert "hub: PKU-Alignment/PKU-SafeRLHF" in told and "licence: CC BY-NC 4.0" in told
    assert "helpful, harmless, safe [0, 1; higher is better]; severity [0, 3; lower is better]" in told
    assert "objectives: those of the file" in said(capsys, "readers", "trl")
    assert main(["data", "readers", "klingon"]) == 2
    assert "unknown reader 'klingon'; allowed are auto, " in capsys.readouterr().err


def test_a_hub_format_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Messages of one tree, one of them without a parent: validated, converted, and the licence carried along."""
    common = {"role": "assistant", "lang": "en", "message_tree_id": "t"}
    rows = [
        {"message_id": "p", "parent_id": None, "text": "Why?", **common, "role": "prompter"},
        {"message_id": "a", "parent_id": "p", "text": "So.", **common, "rank": 1},
        {"message_id": "b", "parent_id": "p", "text": "Because.", **common, "rank": 0},
        {"message_id": "c", "parent_id": "gone", "text": "What?", **common},
    ]
    path = tmp_path / "oasst.messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(said(capsys, "validate", path, "--json"))
    assert (found["reader"], found["read"], found["kept"], found["rejected"]) == ("oasst", 4, 3, 1)
    assert "oasst.messages.jsonl:4: does not hang in its tree" in found["examples"][0]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    said(capsys, "convert", path, tmp_path / "ours.jsonl")
    header, record = map(json.loads, (tmp_path / "ours.jsonl").read_text().splitlines())
    assert header["licence"] == "Apache-2.0" and record["rankings"] == [{"tiers": [[1], [0]]}]
