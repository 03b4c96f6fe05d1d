"""`bench serve` as a whole on a tiny model: the real server in processes of its own, every key, the page and the soak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_shapes import TINY

from pluralign.bench.serve import ALONE, LOST, MANY, Settings, bench_serve
from pluralign.bench.serve_models import World
from pluralign.bench.serve_overload import Plan
from pluralign.bench.serve_process import Served
from pluralign.bench.serve_results import Results, tables, write
from pluralign.bench.serve_speed import Phase, Versus
from pluralign.cli import main
from pluralign.errors import RunError
from pluralign.storage import write_json

SMALL = World("small", "a tiny Llama", TINY, 5, 6, temperature=0.5)
KEYS = (
    "steered_vs_unsteered_32", "steered_vs_unsteered_1", "vs_k_models", "vs_naive_generate", "lost", "mixed_up",
    "ttft_overload", "ready_s", "replies_checked",
)  # fmt: skip
QUICK = {"worlds": (SMALL,), "repeats": 1, "clients": 4, "pool": 12, "replies": 150, "threads": 1}


@pytest.mark.slow
def test_every_key_is_measured(tmp_path: Path) -> None:
    found = bench_serve(Settings(**QUICK, plan=Plan(seconds=1.5, longest=20)))  # type: ignore[arg-type]
    for key in KEYS:
        assert isinstance(found[key], float) and found[f"small_{key}"] == found[key]
    assert found["lost"] == found["mixed_up"] == 0 and found["replies_checked"] >= 150
    assert [each["right"] + each["near_boundary"] for each in found["equality"]] == [12, 4]
    assert [each["key"] for each in found["speeds"]].count("steered_vs_unsteered_1") == 4
    assert found["overload"]["overload"]["requests"] >= 150
    write_json(tmp_path / "bench.json", found)
    assert json.loads((tmp_path / "bench.json").read_text()) == found
    write(found, tmp_path / "serving.md", "pluralign bench serve")
    page = (tmp_path / "serving.md").read_text()
    assert all(told in page for told in ("`pluralign bench serve`", "`vs_k_models`", "## Overload", "unsteered"))


@pytest.mark.slow
def test_the_soak(tmp_path: Path) -> None:
    found = bench_serve(Settings(**QUICK, soak_seconds=8.0))  # type: ignore[arg-type]
    soak = found["soak"]["small"]
    assert (found["lost"], found["mixed_up"]) == (0, 0)
    assert soak["replies"] > 10 and soak["clients_that_left"] >= 12 and soak["bad_requests_refused"] >= 16
    assert len(soak["memory_mb"]) >= 2
    write(found, tmp_path / "soak.md", "pluralign bench serve --soak")
    assert "## Soak" in (tmp_path / "soak.md").read_text()


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"(?s)ended with code \d.*no-such-folder"),
        Served(tmp_path / "no-such-folder", tmp_path / "log"),
    ):
        pass


def _results() -> Results:
    results = Results.start(None, 1, 4)
    for name, slow, fast in (("a", 2.0, 1.0), ("b", 1.0, 2.0)):
        phases = [Phase(1, 10, seconds, seconds / 2) for seconds in (slow, fast)]
        world = World(name, name, TINY, 1, 1)
        results.add_versus(world, MANY, Versus((phases[0],), (phases[1],)), "4 at once")
    return results


def test_the_worst_model_stands_at_the_top() -> None:
    results = _results()
    assert (results.ratios["a_steered_vs_unsteered_32"], results.ratios["b_steered_vs_unsteered_32"]) == (2.0, 0.5)
    assert results.ratios["steered_vs_unsteered_32"] == 0.5
    assert results.targets["steered_vs_unsteered_32"] == {"at_least": 0.85, "met": False}
    results.add("a", LOST, 0)
    results.add("b", LOST, 3)
    assert results.ratios["lost"] == 3 and not results.targets["lost"]["met"]
    results.add("a", ALONE, 0.9)
    results.add("a", ALONE, 0.8)
    assert results.ratios["steered_vs_unsteered_1"] == results.ratios["a_steered_vs_unsteered_1"] == 0.8


def test_the_page_and_the_tables(tmp_path: Path) -> None:
    found: dict[str, Any] = _results().to_json()
    found["settings"]["wall_seconds"] = 60.0
    write(found, tmp_path / "page.md", "pluralign bench serve")
    page = (tmp_path / "page.md").read_text()
    assert "| a | 4 at once | unsteered | 5 | steered | 10 | 2.00 | 2.00 |" in page
    assert "| `steered_vs_unsteered_32` | 0.50 | 0.50 … 0.50 | ≥ 0.85 | NO |" in page
    assert [table.title for table in tables(found)] == ["speed", "numbers"]


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    assert "serve" in capsys.readouterr().out
    assert main(["bench", "serve", "--repeats", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "serve", "--models", "gpt"])
