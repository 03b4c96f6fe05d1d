"""The whole benchmark on a very small model: every part, key, file and refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_shapes import TINY

from pluralign.bench import markdown
from pluralign.bench.parts import PARTS
from pluralign.bench.results import FORMAT_VERSION, tables
from pluralign.bench.train import ON_CPU, Settings, bench_train, parts_for, quick
from pluralign.cli import main
from pluralign.errors import ConfigError
from pluralign.storage import write_json

RATIOS = (
    "tuned_vs_shipped", "dpo_vs_shipped", "dpo_vs_tuned", "cmpo_full_vs_shipped", "cmpo_full_vs_tuned",
    "cmpo_low_vs_shipped", "cmpo_low_vs_tuned", "lambda7_full", "lambda7_low",
)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    parts = ("short", "m", "vocabulary", "formulations")
    return bench_train(Settings(parts=parts, repeats=2, share=0.05, pairs=2, shape=TINY))


@pytest.mark.slow
def test_every_key_of_the_table_is_there(found: dict[str, Any]) -> None:
    wanted = [*RATIOS, *(f"m_{key}" for key in RATIOS), *(f"v128k_{key}" for key in RATIOS)]
    wanted += ["k_growth", "groups", "m_cmpo15_low_vs_tuned", "m_cmpo15_full_vs_tuned", "chooser_over_best"]
    assert [key for key in wanted if not (isinstance(found.get(key), float) and found[key] > 0)] == []
    assert set(found["targets"]) <= set(found["spread"]) <= set(found)
    assert found["format_version"] == FORMAT_VERSION
    assert len(found["equality"]) == 3 * 7


@pytest.mark.slow
def test_ratios_are_those_of_the_rows(found: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in found["parts"]["short"]["rows"]}
    expected = 7 * rows["tuned"]["seconds"] / rows["cmpo_low"]["seconds"]
    assert found["cmpo_low_vs_tuned"] == pytest.approx(expected, rel=0.05)
    assert all(len(row["repeats"]) == 2 and row["tokens_per_second"] > 0 for row in rows.values())
    assert all(0 < row["share_of_limit"] <= row["flop_utilisation"] < 1 for row in rows.values())


@pytest.mark.slow
def test_the_files(found: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "bench.json", found)
    assert json.loads((tmp_path / "bench.json").read_text()) == found
    markdown.write(found, tmp_path / "speed.md", "pluralign bench train")
    page = (tmp_path / "speed.md").read_text()
    for told in ("`pluralign bench train`", "TRL, tuned", "`m_cmpo15_low_vs_tuned`", "naive autograd", "≥ 3.5"):
        assert told in page
    assert [table.title for table in tables(found)][-1] == "ratios"


def test_settings_refuse_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="parts are some of"):
        Settings(parts=("tall",))
    with pytest.raises(ConfigError, match="CUDA"):
        Settings(parts=("short",), device="cuda")
    with pytest.raises(ConfigError, match="CUDA"):
        Settings(parts=("cuda",))
    with pytest.raises(ConfigError, match="at least 1"):
        Settings(repeats=0)


def test_quick_and_default_parts() -> None:
    assert parts_for("cpu", ()) == ON_CPU
    assert parts_for("cuda", ()) == ("cuda",)
    assert parts_for("cpu", ("m",)) == ("m",)
    assert quick(Settings(repeats=2)).parts == ("short",)
    assert set(ON_CPU) - set(PARTS) == {"formulations", "memory"}


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    assert "train" in capsys.readouterr().out
    assert main(["bench", "walk"]) == 2
    assert main(["bench", "train", "--quick", "--parts", "m"]) == 2
    assert main(["bench", "train", "--device", "cuda", "--parts", "short", "--json", "never.json"]) == 2
    assert "CUDA" in capsys.readouterr().err
    assert not Path("never.json").exists()
