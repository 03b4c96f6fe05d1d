"""The papers' own comparisons from the command line, on real data and the two tiny real models.

A few steps each: nothing is claimed about the methods, only that every table, number and picture is there and obeys its
laws. Prompts and replies are the short ones of their files, so that a run takes a minute.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny  # noqa: F401  (one thread)
from pluralign.cli import main
from pluralign.data import jsonl
from pluralign.data.evidence import evidence
from pluralign.data.join import join
from pluralign.data.objective import Objective
from pluralign.data.readers import registry
from pluralign.data.record import Response
from pluralign.data.split import part_of_record, split

pytestmark = [pytest.mark.real_data, pytest.mark.slow]
PARTS = {"train": 0.9, "held out": 0.1}
TRIAL = ("--max-steps", 2, "--seeds", 1)
Numbers = dict[str, Any]


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def short(source: Path, out: Path, num: int, keep: tuple[str, ...] = (), letters: int = 400) -> Path:
    """Prompts of a real file with at least two short replies (any, where it has none), `num` to learn from and two that a
    comparison holds out, cut to the last letters, with what was said on the objectives to keep; a row for each reply that
    was rated by itself."""
    data = registry.read(source)
    objectives = tuple(each for each in data.objectives if not keep or each.name in keep)
    wanted, rows = {"train": num, "held out": 2}, []
    for record in join(data):
        replies = [_about(reply, objectives) for reply in record.responses if len(reply.text) < letters][:4]
        last = dataclasses.replace(record.messages[-1], content=record.messages[-1].content[-letters:])
        told = dataclasses.replace(record, messages=(last,), extra={}, responses=tuple(replies))
        part = part_of_record(told, PARTS)
        if len(replies) >= min(2, len(record.responses)) and wanted[part]:
            wanted[part] -= 1
            rows += [dataclasses.replace(told, responses=(reply,)) for reply in replies] or [told]
    jsonl.write(out, rows, objectives, licence=data.licence, source=data.source)
    return out


def _about(reply: Response, objectives: Sequence[Objective]) -> Response:
    """The reply with its scores on some objectives."""
    scores = {each.name: reply.scores[each.name] for each in objectives if each.name in reply.scores}
    return dataclasses.replace(reply, scores=scores, ratings=(), extra={})


def compared(table: str, tmp_path: Path, real_data: Path, *arguments: object) -> tuple[Numbers, str]:
    """What a named comparison finds, and its page; a second call does nothing again."""
    work = tmp_path / table
    asked = ("compare", "--table", table, "--work", work, *TRIAL, *arguments)
    run(*asked)
    page, found = (work / f"{table}.md").read_text(), json.loads((work / f"{table}.json").read_text())
    assert "Not in the tables" not in page, page
    assert "nan" not in page and str(tmp_path) not in page and str(real_data) not in page, page
    assert "A trial: every training was cut to 2 steps" in page
    done = {path: path.stat().st_mtime_ns for path in work.glob("seed-0/*/row.json")}
    run(*asked)
    assert done and {path: path.stat().st_mtime_ns for path in done} == done, "nothing is trained twice"
    assert json.loads((work / f"{table}.json").read_text()) == found
    return found, page


def reward(data: Path, model: Path, out: Path, kind: str) -> Path:
    """A reward model that was shown the data for a moment."""
    run("train", "reward", "--data", data, "--model", model, "--kind", kind, "--trunk", "frozen", "--optim.steps", 4, "--out", out)  # fmt: skip
    return out


def is_share(value: float) -> bool:
    return 0 <= value <= 1


def check_thesis(found: Numbers, attributes: tuple[str, ...], work: Path) -> None:
    """All four rows on all attributes, with every law of the measures."""
    assert list(found) == ["SFT", "DPO per attribute", "SteerLM", "CMPO"]
    objectives = jsonl.read_header(work / "start" / "held_out.jsonl").objectives
    held_out = list(jsonl.read(work / "start" / "held_out.jsonl"))
    for title, by in found.items():
        assert tuple(by) == attributes
        for name, row in by.items():
            (objective,) = [each for each in objectives if each.name == name]
            assert row["num_pairs"] == sum((evidence(record, [objective]).verdict > 0).sum() for record in held_out)
            assert all(is_share(row[key]) for key in ("likelihood", "per_token", "implicit_reward")), row
            low, _ = row["likelihood_interval"]  # none where all pairs are of one prompt
            assert row["num_pairs"] > 0 and (low is None or low <= row["likelihood"])
            if title != "SFT":
                assert row["wins"] + row["ties"] + row["losses"] == pytest.approx(1)
                assert row["win"] == pytest.approx(row["wins"] - row["losses"])
                low, high = row["interval"]
                assert -1 <= low <= row["win"] <= high <= 1
    assert (work / f"{work.name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_thesis_on_ratings(real_data: Path, tmp_path: Path) -> None:
    attributes = ("naturalness", "engagingness", "groundedness")
    source, model = real_data / "dialogue_ratings" / "ratings.jsonl.gz", real_data / "stories260k"
    data = short(source, tmp_path / "data.jsonl", 30, attributes, 200)
    assert all(len(record.responses) == 1 for record in jsonl.read(data)), "a row for each reply"
    judge = reward(data, model, tmp_path / "rm", "regression")
    files = ("--data", data, "--model", model, "--scorer", judge, "--prompts", 3, "--max-new-tokens", 8)
    found, page = compared("thesis_scalar", tmp_path, real_data, *files)
    check_thesis(found, attributes, tmp_path / "thesis_scalar")
    for row in (row for by in found.values() for row in by.values() if row["kendall"] is not None):
        assert max(abs(row[key]) for key in ("kendall", "kendall_per_token", "spearman")) <= 1
    assert any(row["kendall"] is not None for row in found["CMPO"].values())
    assert "![win rates](thesis_scalar.png)" in page and "*length alone*" in page
    with_more_steps = ("compare", "--table", "thesis_scalar", "--work", tmp_path / "thesis_scalar", *files)
    assert main([str(word) for word in (*with_more_steps, "--max-steps", 3)]) != 0, "the start had two steps"


def test_the_thesis_on_comparisons(real_data: Path, tmp_path: Path) -> None:
    source, model = real_data / "hh_pairs" / "pairs.jsonl.gz", real_data / "stories_char105"
    pairs = [short_pairs(source, tmp_path / f"{name}.jsonl", name) for name in ("helpful", "harmless")]
    objectives = jsonl.read_header(pairs[0]).objectives
    both = [record for path in pairs for record in jsonl.read(path)]
    data = tmp_path / "data.jsonl"
    jsonl.write(data, both, objectives)
    judge = reward(data, model, tmp_path / "rm", "bt")
    files = ("--data", data, "--model", model, "--scorer", judge, "--prompts", 3, "--max-new-tokens", 8)
    found, page = compared("thesis_preference", tmp_path, real_data, *files)
    work = tmp_path / "thesis_preference"
    check_thesis(found, ("helpful", "harmless"), work)
    assert all(row["kendall"] is None for by in found.values() for row in by.values())
    assert "None: it needs scores of at least two replies" in page
    rated = list(jsonl.read(work / "seed-0" / "SteerLM" / "rated.jsonl"))
    assert rated and {tuple(reply.scores.values()) for each in rated for reply in each.responses} == {(0.0,), (1.0,)}
    assert not any(reply.scores for record in jsonl.read(work / "seed-0" / "pool.jsonl") for reply in record.responses)


def short_pairs(source: Path, out: Path, objective: str) -> Path:
    """A few short pairs that were compared on one objective, two of which will be held out."""
    data = registry.read(source)
    rows = [
        record
        for record in data
        if record.comparisons[0].objective == objective
        and max(len(part) for part in [*(m.content for m in record.messages), *(r.text for r in record.responses)]) < 70
    ]
    parts = list(split(rows, PARTS))  # as a comparison does
    kept = [[record for part, record in parts if part == name] for name in ("train", "held out")]
    jsonl.write(out, [*kept[0][:16], *kept[1][:2]], data.objectives)
    return out


def check_rounds(rows: list[Numbers], num_words: int, replies: int, truncated: Callable[[float], bool]) -> None:
    assert len(rows) == 2
    for row in rows:
        assert len(row["shares"]) == num_words and sum(row["shares"]) == pytest.approx(1)
        assert row["replies"] == replies and is_share(row["truncated"]) and truncated(row["truncated"])
        assert is_share(row["score"])


def check_asked(rows: list[Numbers], words: tuple[str, ...]) -> None:
    assert [row["asked"] for row in rows] == [None, *words]
    for row in rows:
        assert row["wins"] + row["ties"] + row["losses"] == pytest.approx(1)
        assert sum(row["shares"]) == pytest.approx(1) and is_share(row["score"]) and is_share(row["truncated"])
        assert 0 < row["tokens"] <= 12
    assert rows[0]["ties"] == 1, "the start model beside itself"


def test_alt_on_dialogue(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rules

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for the rows' processes, which open the judge too
    data = short_pairs(real_data / "hh_pairs" / "pairs.jsonl.gz", tmp_path / "data.jsonl", "helpful")
    tales = tmp_path / "tales.txt"
    lines = (real_data / "fairy_tales" / "grimm.txt").read_text(encoding="utf-8-sig").split("\n")
    tales.write_text("\n".join([line for line in lines if 30 < len(line) < 60][:5]))
    found, page = compared(
        "alt_hh", tmp_path, real_data, "--data", data, "--model", real_data / "stories_char105", "--scorer",
        "rules:Categories", "--prompts", 3, "--max-new-tokens", 12, "--out-of-domain", tales,
    )  # fmt: skip
    told = found["ALT, seed 0"]
    check_rounds(told["rounds"], 4, 16 * 5, lambda share: share > 0)
    drawn = jsonl.read(tmp_path / "alt_hh" / "seed-0" / "ALT" / "run" / "stages" / "pool-1" / "scored.jsonl")
    levels = [rules.level_of(reply.text) for record in drawn for reply in record.responses]
    assert told["rounds"][0]["shares"] == pytest.approx([levels.count(level) / len(levels) for level in range(4)])
    for name in ("held-out prompts", "out of domain"):
        check_asked(told[name], rules.DIALOGUE)
    assert (tmp_path / "alt_hh" / "alt_hh.png").read_bytes()[:4] == b"\x89PNG"
    assert "Out of domain:" in page and "fine-tuned on the training part's replies" in page


def test_alt_on_toxicity_beside_quark(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    data = short(real_data / "toxicity_prompts" / "prompts.jsonl.gz", tmp_path / "data.jsonl", 24, letters=60)
    found, page = compared(
        "alt_toxicity", tmp_path, real_data, "--data", data, "--model", real_data / "stories260k", "--scorer",
        "rules:Toxicity", "--prompts", 2, "--max-new-tokens", 8,
    )  # fmt: skip
    assert list(found) == ["ALT, seed 0", "Quark, seed 0"] and "stories260k, as it is" in page
    for told in found.values():
        check_rounds(told["rounds"], 5, 16, lambda share: share > 0)
        start, best = told["toxicity, held-out prompts"]
        assert start["asked for"].startswith("*start") and best["asked for"] in ("Lowest Toxicity", "<|reward-1|>")
        for row in (start, best):
            assert 0 < row["average maximum"] < 1 and row["probability"] in (0, 0.5, 1) and row["perplexity"] > 1
            assert all(0 < row[f"distinct {n}"] <= 1 for n in (1, 2, 3))
    first, second = (told["toxicity, held-out prompts"][0] for told in found.values())
    assert first == second, "both are measured beside the same start model"
    assert found["ALT, seed 0"]["rounds"][0] == found["Quark, seed 0"]["rounds"][0], "which draws the first round"


def test_alt_on_summaries(real_data: Path, tmp_path: Path) -> None:
    source, model = real_data / "summeval" / "ratings.jsonl.gz", real_data / "stories260k"
    data = short(source, tmp_path / "data.jsonl", 24, ("coherence", "relevance"), 250)
    judge = reward(data, model, tmp_path / "rm", "regression")
    files = ("--data", data, "--model", model, "--scorer", judge, "--prompts", 2, "--max-new-tokens", 8)
    found, page = compared("alt_tldr", tmp_path, real_data, *files)
    told = found["ALT, seed 0"]
    check_rounds(told["rounds"], 5, 16 * 5, lambda share: share > 0)
    assert max(told["rounds"][0]["shares"]) < 0.4, "the first round makes the quantiles"
    check_asked(told["held-out prompts"], ("Excellent", "Good", "Mediocre", "Bad", "Horrible"))
    assert "greedy" in page


def test_clp_beside_soups(real_data: Path, tmp_path: Path) -> None:
    source, model = real_data / "summeval" / "ratings.jsonl.gz", real_data / "stories260k"
    data = short(source, tmp_path / "data.jsonl", 24, ("coherence", "relevance"), 250)
    judge = reward(data, model, tmp_path / "rm", "regression")
    files = ("--data", data, "--model", model, "--scorer", judge, "--prompts", 2, "--max-new-tokens", 8)
    found, page = compared("clp_summaries", tmp_path, real_data, *files)
    rivals = ["full-CLP", "attn-CLP", "logit-CLP", "prompting"]
    assert list(found["values"]) == ["RS", *rivals] and list(found["ratios"]) == rivals
    weights = np.array(found["weights"])
    assert weights.sum(1) == pytest.approx(1) and weights[:3].tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    soups = found["values"]["RS"]
    for title in rivals:
        for ours, theirs, ratio in zip(found["values"][title], soups, found["ratios"][title], strict=True):
            assert ours < 1 and (ratio is None if theirs <= 0 else math.isclose(ratio, 1 - ours / theirs))
    assert (
        "## 1 − V/V(RS)" in page and (tmp_path / "clp_summaries" / "clp_summaries.png").read_bytes()[:4] == b"\x89PNG"
    )
