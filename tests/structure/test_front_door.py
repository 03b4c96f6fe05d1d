"""What a newcomer meets first: `import pluralign`, `pluralign --help`, and how long they take."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import SOURCE

import pluralign
from pluralign.recipes.registry import NOT_METHODS

HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "pandas", "matplotlib", "scipy", "ray", "trl")
MAX_CPU_SECONDS = 1.5
MAX_NAMES = 40

# Runs the command line in this process and says what got imported and how much CPU it took.
PROBE = """
import json, sys, time
sys.argv = ["pluralign", *sys.argv[1:]]
from pluralign.cli import main
try:
    code = main() or 0
except SystemExit as end:
    code = end.code or 0
heavy = [name for name in {heavy!r} if name in sys.modules]
print()
print(json.dumps({{"code": code, "heavy": heavy, "seconds": time.process_time()}}))
"""


def _run(folder: Path, *arguments: str) -> tuple[str, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told, _, facts = done.stdout.rstrip().rpartition("\n")
    return told, json.loads(facts)


@pytest.mark.parametrize("arguments", [("--help",), ("methods",)], ids=" ".join)
def test_a_quick_answer(arguments: tuple[str, ...], tmp_path: Path) -> None:
    told, facts = _run(tmp_path, *arguments)
    assert facts["code"] == 0
    assert facts["heavy"] == [], "heavy imports belong inside the calls that need them"
    assert facts["seconds"] < MAX_CPU_SECONDS  # type: ignore[operator]
    assert len(told.splitlines()) >= 3


def test_methods_names_every_method(tmp_path: Path) -> None:
    told, _ = _run(tmp_path, "methods")
    names = [path.stem for path in (SOURCE / "methods").glob("[a-z]*.py") if path.stem not in NOT_METHODS]
    assert names
    assert [name for name in names if name not in told] == []


def test_the_public_names_are_few_and_typed() -> None:
    assert 0 < len(pluralign.__all__) <= MAX_NAMES
    assert list(pluralign.__all__) == sorted(pluralign.__all__, key=str.lower) or len(set(pluralign.__all__)) == len(
        pluralign.__all__
    )
    for name in pluralign.__all__:
        value = getattr(pluralign, name)
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            assert inspect.getdoc(value), f"pluralign.{name} has no docstring"
            assert signature.return_annotation is not signature.empty, f"pluralign.{name} does not say what it returns"
            untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
            assert not untyped, f"pluralign.{name}: untyped {untyped}"
        elif inspect.isclass(value):
            assert inspect.getdoc(value), f"pluralign.{name} has no docstring"


def test_importing_the_package_is_cheap() -> None:
    code = f"import sys, pluralign; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
