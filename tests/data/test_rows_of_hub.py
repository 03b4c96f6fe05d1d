"""Datasets of the hub: which sources name one, and how the hub's library is asked, on a folder that it reads alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pluralign.data import rows
from pluralign.errors import DataError


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("nvidia/HelpSteer2", "nvidia/HelpSteer2"),
        ("nvidia/HelpSteer2:preference@train", "nvidia/HelpSteer2"),
        ("allenai/reward-bench@filtered", "allenai/reward-bench"),
        ("nvidia/train.jsonl.gz", None),
        ("rows.jsonl", None),
        ("a/b/c", None),
    ],
)
def test_what_names_a_dataset_of_the_hub(source: str, name: str | None) -> None:
    assert rows.hub_name(source) == name


def test_a_file_that_is_here_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nvidia").mkdir()
    assert rows.hub_name("nvidia/HelpSteer2") is None
    (tmp_path / "nvidia" / "HelpSteer2").write_text('{"a": 1}\n')
    assert list(rows.stream("nvidia/HelpSteer2")) == [(1, b'{"a": 1}\n')]


def test_a_folder_does_for_a_configuration(tmp_path: Path) -> None:
    """`_hub` is what `stream` calls for a hub name; a path instead of the name keeps the test off the network."""
    for folder, row in ((tmp_path, {"a": 1}), (tmp_path / "preference", {"b": [2]})):
        folder.mkdir(exist_ok=True)
        (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    assert list(rows._hub(str(tmp_path), "preference", "train")) == [(1, {"b": [2]})]
    with pytest.raises(DataError, match="nor readable from the hub"):
        list(rows._hub(str(tmp_path), "no_such", "train"))
    with pytest.raises(DataError, match="nor readable from the hub"):
        list(rows._hub(str(tmp_path), None, "no_such"))
