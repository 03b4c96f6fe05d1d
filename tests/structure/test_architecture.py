"""docs/architecture.md names every file: newcomers look there first."""

from __future__ import annotations

import re

from source_tree import ROOT, Module, modules
from test_floors import PLUGINS

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LISTED = PAGE.partition("## The files of a room")[2].partition("```\n")[2].partition("```")[0]
# Found by their names, one file each: the page says how, not which.
FOLDERS = {
    **PLUGINS,
    "data.conversions": set(),
    "steering.prompt": set(),
    "recipes": {"registry", "file_job", "lab_job"},
}


def _lines(room: str) -> str:
    """The lines on a room's files; empty where its line among the floors has to do."""
    found = re.search(rf"^{room}/ .*\n(?: .*\n)*", LISTED, re.MULTILINE)
    return found[0] if found else ""


def _needs_a_name(module: Module) -> bool:
    folder, _, leaf = module.name.rpartition(".")
    is_folder = module.path.endswith("__init__.py")
    return not is_folder and (folder not in FOLDERS or leaf in FOLDERS[folder])


def _is_named(module: Module) -> bool:
    leaf = module.name.rpartition(".")[2]
    listed = _lines(module.room)
    if listed:
        return bool(re.search(rf"\b{leaf}\b", listed))
    named = f"{leaf}.py" if "." not in module.name or module.room == "steering" else f"{module.room}/"
    return bool(re.search(rf"(?<![\w/]){re.escape(named)}", PAGE))


def test_every_file_is_named() -> None:
    silent = [module.path for module in modules() if _needs_a_name(module) and not _is_named(module)]
    assert not silent, f"name these in docs/architecture.md, among the files of their rooms: {silent}"


def test_every_file_that_is_named_exists() -> None:
    names = {module.name.rpartition(".")[2] for module in modules()}
    said = re.sub(r"\(.*?\)", "", LISTED.replace("\n  ", " "))
    rooms = re.findall(r"^(\w+)/ +(.*)$", said, re.MULTILINE)
    assert len(rooms) >= 6
    strangers = [word for room, line in rooms for word in re.findall(r"\w+", line) if word not in names]
    assert not [word for word in strangers if word not in {"records", "scores", "TRL", "and"}], strangers
