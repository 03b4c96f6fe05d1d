"""What must never stand in the repository: unsafe loading, mocks, and traces of somebody's machine."""

from __future__ import annotations

import re
import subprocess

import pytest
from source_tree import ROOT, files_of_tests, modules

# Split, so that this file does not name them itself.
UNSAFE = {
    "pickle": re.compile(r"^\s*(?:import|from)\s+(?:c?" + r"pickle|dill|joblib|shelve|marshal)\b"),
    "loading that unpickles": re.compile(r"\btorch\." + r"load\(|allow_" + r"pickle\s*=\s*True"),
    "code from the hub": re.compile(r"trust_remote" + r"_code\s*=\s*True"),
    "yaml that builds objects": re.compile(r"\byaml\." + r"(?:unsafe_|full_)?load\("),
    "code from text": re.compile(r"(?<![\w.])(?:ev" + r"al|ex" + r"ec)\("),
    "a shell": re.compile(r"shell\s*=\s*True|\bos\." + r"system\("),
}
MOCKS = re.compile(r"\bunittest\." + r"mock|Magic" + r"Mock|\bmocker\b|monkeypatch\." + r"setattr")
MACHINE = re.compile(r"(?<![\w.:/-])/(?:home|Users|root|work|opt|mnt|data)/\w|[A-Z]:\\\\?Users")


@pytest.mark.parametrize("what", UNSAFE)
def test_nothing_unsafe_in_the_package(what: str) -> None:
    found = [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), start=1)
        if UNSAFE[what].search(line)
    ]
    assert not found, f"{what}: {found}"


def test_no_mocks() -> None:
    found = [module.path for module in files_of_tests() if MOCKS.search(module.text)]
    assert not found, f"tests use the real thing, not mocks: {found}"


def test_no_traces_of_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    found = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            lines = content.decode("utf-8").splitlines()
            found += [f"{name}:{number}" for number, line in enumerate(lines, start=1) if MACHINE.search(line)]
    assert not found, f"absolute paths of a machine: {found}"
