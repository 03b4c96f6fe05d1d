"""The command line in this process, a tiny base model on the disk, and a finished run to ask."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import made_up
from pluralign.cli import main


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture
def pluralign(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `pluralign ARGUMENTS` in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # the parser of flags leaves this way
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/ (a tiny base), data.jsonl (scored) and said.jsonl (compared); read only."""
    folder = tmp_path_factory.mktemp("place")
    made_up.words_model(folder / "model")
    made_up.write(folder / "data.jsonl", made_up.scored(16))
    made_up.write(folder / "said.jsonl", made_up.compared(16))
    return folder


@pytest.fixture(scope="session")
def run_folder(place: Path) -> Path:
    """A finished run of cmpo."""
    arguments = ["--data", place / "data.jsonl", "--model", place / "model", "--out", place / "run", *made_up.SMALL]
    assert main(["train", "cmpo", "--quiet", *map(str, arguments)]) == 0
    return place / "run"
