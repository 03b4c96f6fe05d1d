"""The lab's results table: what it says by hand, and two of its rows done for real on a small pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pluralign.comparison.ground import LabGround
from pluralign.errors import ConfigError
from pluralign.results import BEGIN, END, NUMBERS, REFERENCES, entries, fill, render, results

MARKS = f"before\n{BEGIN}\nold\n{END}\nafter\n"


def row(key: str, seed: int, gain: float, **more: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(NUMBERS, gain) | {"efficiency": None}
    tables = {name: dict.fromkeys(NUMBERS, 1.0) for name in REFERENCES}
    return {
        "key": key,
        "title": key,
        "seed": seed,
        **numbers,
        **tables,
        "diagonal_right": 6,
        "cpu_seconds": 30.4,
        **more,
    }


def test_a_line_has_the_mean_and_each_seed_and_what_failed_is_told() -> None:
    failed = {"key": "mod", "title": "MOD", "seed": 0, "error": "no experts"}
    text = render([row("default", 0, 2.0), row("default", 1, 3.0), failed], (0, 1), LabGround())
    assert "304 replies per one-hot and 152 per other weight" in text  # 38 test prompts, 8 and 4 replies to each
    line = next(line for line in text.split("\n") if line.startswith("| default (scores)"))
    assert line.split(" | ")[1] == "2.50 (2.00 / 3.00)" and line.endswith("| - | 2.50 (2.00 / 3.00) | 6/6 | 30/30 |")
    assert "| optimum, conservative | 1.00 (1.00 / 1.00) |" in text
    assert "Failed: MOD, seed 0: no experts" in text and "Not run yet: thesis_scaled; thesis;" in text
    assert "MOD, 6 DPO experts" not in text, "it did not go unrun, it failed"


def test_the_readme_is_filled_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(MARKS)
    fill(page, [row("default", 0, 2.0), row("default", 1, 3.0), row("thesis", 0, 9.0)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith(f"{END}\nafter\n") and "old" not in text
    assert "| pluralign (CMPO, default) | 2.50 | 2.50 | 2.50 | 2.50 | 2.50 | - |" in text
    assert "| base | 1.00 |" in text and "9.00" not in text and "as published" not in text
    page.write_text("no marks")
    with pytest.raises(ConfigError, match="no place for the numbers"):
        fill(page, [])


def test_every_row_can_be_made_and_stands_on_its_own_feedback() -> None:
    found = {entry.key: entry for entry in entries()}
    assert not any(entry.error for entry in found.values()) and all(entry.report for entry in found.values())
    mod = found["mod"]
    assert (mod.method, mod.raters, mod.title) == ("mod", "comparisons", "MOD, 6 DPO experts, comparisons only")
    assert mod.settings["optim"]["steps"] == 120 and mod.settings["loss"]["is"] == "CDPO"
    assert found["comparisons_sixth"].share == pytest.approx(1 / 6) and found["halo"].raters == "halo"


@pytest.mark.slow
def test_two_rows_and_the_nano_world_on_a_small_pool(tmp_path: Path) -> None:
    page, readme = tmp_path / "results.md", tmp_path / "README.md"
    readme.write_text(MARKS)
    small = [entry for entry in entries(max_steps=2) if entry.key in ("default", "mod")]
    how: dict[str, Any] = {
        "seeds": (0,), "readme": readme, "ground": LabGround(pool=8, split="validation", one_hot_each=1, other_each=1), "rows": small,
    }  # fmt: skip
    found = {row["key"]: row for row in results(tmp_path / "work", page, **how)}
    assert set(found) == {"default", "mod", "nano"} and not any("error" in row for row in found.values()), found
    assert abs(found["mod"]["kl_mean"]) < 1 and found["mod"]["cpu_seconds"] > 0, "two steps hardly move it"
    assert found["mod"]["base"] == found["default"]["base"], "one set of base replies for all rows"
    assert found["mod"]["optimum"]["gain_mean"] > 2
    text = page.read_text()
    assert (
        "Validation prompts" in text
        and "24 replies per one-hot" in text
        and "| MOD, 6 DPO experts, comparisons only |" in text
    )
    assert "Not run yet: thesis_scaled; thesis;" in text and "Nano world, exact" in text
    assert 0 <= found["nano"]["default"]["mass"] <= 1 and "thesis_scaled" not in found["nano"], "no row of the table"
    assert "| pluralign (CMPO, default) |" in readme.read_text()
    assert (tmp_path / "work" / "seed-0" / "mod" / "report.html").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("seed-0/*/row.json")}
    assert len(before) == 3 and {row["key"]: row for row in results(tmp_path / "work", page, **how)} == found
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is done twice"
