"""A comparison end to end on a tiny model: rows in processes, errors, the budget, and nothing done twice."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import made_up
from pluralign.comparison.compare import Comparison
from pluralign.comparison.entry import Entry, entries_of, made, shortened
from pluralign.comparison.ground import FileGround, LabGround, prepare
from pluralign.comparison.lab_tables import mechanism_loss
from pluralign.comparison.meter import OverBudgetError, metered, spent
from pluralign.comparison.options import CompareOptions
from pluralign.comparison.page import Page
from pluralign.comparison.publish import Publication
from pluralign.comparison.row import DONE, FAILED, STOPPED, Job, do
from pluralign.data.objective import Objective
from pluralign.data.record import Record, user
from pluralign.errors import ConfigError
from pluralign.settings import to_json
from pluralign.storage import read_json, write_json
from pluralign.training.optim import Optim


@dataclasses.dataclass(frozen=True)
class WordCount:
    """kind words, and how few words there are."""

    objectives: tuple[Objective, ...] = made_up.OBJECTIVES

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            yield dataclasses.replace(record, responses=tuple(map(self._scored, record.responses)))

    def _scored(self, reply):
        words = reply.text.split()
        kind = sum(word in ("kind", "nice", "good") for word in words)
        return dataclasses.replace(reply, scores={"kind": float(min(4, kind)), "brief": float(8 - min(8, len(words)))})


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> FileGround:
    place = tmp_path_factory.mktemp("ground")
    words = made_up.SPOKEN
    records = [
        dataclasses.replace(record, messages=user(f"tell {words[i % 10]} {words[i // 10]}"))
        for i, record in enumerate(made_up.scored(40))
    ]
    data, model = made_up.write(place / "data.jsonl", records), made_up.words_model(place / "model")
    return FileGround(
        data=str(data), model=str(model), scorer=f"{__name__}:WordCount", prompts=3, one_hot_each=1, max_new_tokens=6
    )


def job(folder: Path, entry: Entry, ground: FileGround, limit: float | None = None) -> dict:
    """One row done in this process."""
    prepare(ground, folder.parent, 0)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "job.json", Job(entry, ground, 0, limit).to_json())
    return do(folder)


@pytest.mark.parametrize(("name", "weights", "runs"), [("cmpo", 13, 1), ("dpo", 2, 2), ("dera", 2, 2), ("sft", 13, 1)])
def test_a_row_is_trained_judged_and_kept(
    name: str, weights: int, runs: int, ground: FileGround, tmp_path: Path
) -> None:
    (entry,) = entries_of(name, lab=False, max_steps=2)
    row = job(tmp_path / "seed-0" / name, entry, ground)
    assert (row["status"], row["num_weights"]) == (DONE, weights)
    assert row["numbers"]["gain_mean"] is not None and row["numbers"]["efficiency"] is None
    assert len(list((tmp_path / "seed-0" / name).glob("run*/policy/policy.json"))) == runs
    began = [path.stat().st_mtime_ns for path in (tmp_path / "seed-0" / name).glob("run*/policy/policy.json")]
    (tmp_path / "seed-0" / name / "row.json").unlink()
    again = job(tmp_path / "seed-0" / name, entry, ground)
    assert again["numbers"] == row["numbers"]
    after = [path.stat().st_mtime_ns for path in (tmp_path / "seed-0" / name).glob("run*/policy/policy.json")]
    assert after == began, "a finished training is not repeated"


def test_what_goes_wrong_is_the_rows_error(ground: FileGround, tmp_path: Path) -> None:
    (entry,) = entries_of("cmpo", lab=False, max_steps=2)
    broken = dataclasses.replace(entry, settings={**entry.settings, "feedback": "comparisons", "kappa": -1.0})
    row = job(tmp_path / "seed-0" / "broken", broken, ground)
    assert row["status"] == FAILED and "kappa must be" in row["error"]
    stopped = job(tmp_path / "seed-0" / "slow", entry, ground, limit=-1.0)
    assert stopped["status"] == STOPPED and "the limit being" in stopped["error"]


def test_the_meter_adds_up_and_stops(tmp_path: Path) -> None:
    path = tmp_path / "spent.txt"
    for _ in range(2):
        with metered(path):
            _burn(0.05)
    assert 0.1 <= spent(path) < 1.0
    with pytest.raises(OverBudgetError, match="the limit being 1"), metered(path, limit=1.0):
        _burn(30)
    assert 1.0 <= spent(path) < 5.0


def _burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(1000))


def test_rows_are_named_and_what_cannot_be_made_is_a_row() -> None:
    entries = entries_of("cmpo,cmpo/thesis, soups", max_steps=3)
    assert [entry.key for entry in entries] == ["cmpo", "cmpo-thesis", "soups"]
    assert all(entry.settings["optim"]["steps"] == 3 for entry in entries)
    assert not entries[0].one_objective and entries_of("dpo")[0].one_objective
    for names, why in (
        ("cmpo,cmpo", "twice"),
        ("teach", "unknown method"),
        ("cmpo/best", "no recipe"),
        ("", "name the"),
    ):
        with pytest.raises(ConfigError, match=why):
            entries_of(names)
    lost = made("lost", "cmpo", lambda: Optim(steps=0))
    assert "steps must be" in lost.error and not lost.settings
    everything = [entry.method for entry in entries_of("all")]
    assert "cmpo" in everything and "reward" not in everything


def test_shortening_reaches_every_optimisation() -> None:
    plain = {"is": "M", "epochs": 2.0, "optim": to_json(Optim(steps=9)), "inner": [{"round": to_json(Optim(steps=1))}]}
    found = shortened(plain, 4)
    assert (found["epochs"], found["optim"]["steps"], found["inner"][0]["round"]["steps"]) == (None, 4, 1)
    assert shortened(plain, None) == plain


def test_mechanisms_by_losses_are_nine_rows() -> None:
    cells = {entry.title: entry for entry in mechanism_loss()}
    assert len(cells) == 9
    assert cells["all, cDPO"].settings["steering"]["where"] == "all"
    assert cells["all, cDPO"].settings["loss"]["is"] == "CDPO"
    assert cells["head, preference-only"].raters == "comparisons" != cells["head, regression"].raters
    assert cells["head, preference-only"].settings == cells["head, regression"].settings


def row(key: str, gain: float, seconds: float, **more: object) -> dict:
    numbers = dict.fromkeys(
        ("gain_mean", "gain_min", "utility_gain", "hypervolume", "efficiency", "regret", "fluency_mean", "kl_mean"),
        gain,
    )
    none = dict.fromkeys(numbers)
    facts = {"models": "1", "passes": "2"}
    return {"key": key, "title": key, "seed": 0, "status": DONE, "train_seconds": seconds, "numbers": numbers,
            "base": none, "optimum": none, "optimum_conservative": none, "num_weights": 3, "facts": facts, **more}  # fmt: skip


def test_the_best_row_is_within_the_budget_and_failures_are_told() -> None:
    rows = [row("dear", 3.0, 12.0), row("fair", 2.0, 9.0), row("lost", 0, 0, status=FAILED, error="no scores")]
    titles = {"dear": "dear", "fair": "fair", "lost": "lost", "late": "late"}
    page = Page("T", "c", (), titles, rows, (0,), 10.0, lambda one: one["train_seconds"] > 10)
    text = page.markdown()
    assert page.best() == "fair" and "**fair**" in text and "12‡" in text
    assert text.index("| dear") < text.index("| **fair**")
    assert "- lost, seed 0: no scores" in text and "Not run yet: late (seed 0)." in text


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    for wrong, why in (
        ({"seeds": 0}, "at least one seed"),
        ({"model": "m"}, "go with --data"),
        ({"data": tmp_path, "pool": 3}, "are the lab's"),
        ({"max_steps": 0}, "at least 1"),
        ({"table": "alt_hh", "methods": "cmpo"}, "leave --methods out"),
        ({"out_of_domain": tmp_path}, "is for alt_hh"),
    ):
        with pytest.raises(ConfigError, match=why):
            CompareOptions(**wrong)
    with pytest.raises(ConfigError, match="give --data"):
        CompareOptions(table="alt_hh").needs_data()


@pytest.mark.slow
def test_processes_side_by_side_go_on_where_they_were(tmp_path: Path) -> None:
    """In the lab, as small as it gets: three rows of which one fails, a page and a picture, and nothing done twice."""
    fine = entries_of("cmpo,sft", max_steps=2)
    lost = dataclasses.replace(fine[0], key="lost", title="lost", settings={**fine[0].settings, "kappa": -1.0})
    world = LabGround(pool=12, split="validation", one_hot_each=1, other_each=1)
    made_of = {"ground": world, "work": tmp_path, "seeds": (0,), "jobs": 2, "budget": 300.0}
    whole = Comparison(entries=(*fine, lost), **made_of)
    found = Publication(comparison=whole, page=tmp_path / "page.md", title="T", command="c", baseline="cmpo").publish()
    assert [each["status"] for each in found["rows"]] == [DONE, DONE, FAILED]
    assert set(found["differences"]) == {"sft"}
    text = (tmp_path / "page.md").read_text()
    assert "exact optimum" in text and "kappa must be" in text and (tmp_path / "page.png").exists()
    before = (tmp_path / "seed-0" / "cmpo" / "row.json").stat().st_mtime_ns
    again = Comparison(entries=tuple(fine), **made_of).rows()
    assert [each["status"] for each in again] == [DONE, DONE]
    assert (tmp_path / "seed-0" / "cmpo" / "row.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another folder"):
        Comparison(entries=tuple(fine), **{**made_of, "ground": LabGround(pool=13)}).rows()
    assert read_json(tmp_path / "comparison.json")["baseline"] == "cmpo"
