"""The page: self-contained, well formed, and closed against whatever people or models wrote."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pluralign.data.objective import Objective
from pluralign.evaluation.accuracy import Judged, accuracy_table
from pluralign.evaluation.charts import Axis, apart
from pluralign.evaluation.page import page
from pluralign.evaluation.page_tables import asked_words
from pluralign.evaluation.plots import pictures
from pluralign.evaluation.report import Report, report
from pluralign.evaluation.samples import Cell, Samples

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"quoted\" $title ${style}"
VOID = {"meta", "link", "img", "br", "hr", "input", "line", "circle", "polyline", "polygon", "path"}


class Reader(HTMLParser):
    """Collects what a page loads, and checks that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def evil(optimal_samples, four_replies) -> Report:
    cells = [dataclasses.replace(cell, texts=(EVIL,) * len(cell.texts)) for cell in optimal_samples.cells]
    samples = dataclasses.replace(optimal_samples, cells=tuple(cells), prompt_texts=dict.fromkeys(["p0"], EVIL))
    pairs = Judged(EVIL, *(np.array([2.0, 1.0]), np.array([1.0, 2.0])) * 3, ("a", "b"))
    return report(samples, EVIL, four_replies, {EVIL: EVIL, "seed": 1}, accuracy_table([pairs]), resamples=10)


def test_the_page_loads_nothing(evil) -> None:
    text = page(evil)
    reader = read(text)
    assert reader.loads == []
    assert not re.search(r"https?:|//\w|@import|url\(|<link|<iframe", text)


def test_what_people_wrote_is_shown_and_never_run(evil) -> None:
    text = page(evil)
    reader = read(text)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert reader.handlers == []
    assert "".join(reader.words).count("<script>alert('x')</script>") >= 4
    assert "${style}" in text


def test_the_page_shows_the_parts_and_the_yardsticks(evil) -> None:
    words = " ".join(read(page(evil)).words)
    for heading in ("What asking does", "The card", "Fronts", "Sweeps", "Who moves with whom", "How it was measured"):
        assert heading in words
    assert "exact optimum" in words
    assert "helpful" in words


def test_a_page_without_a_yardstick_says_why(optimal_samples) -> None:
    words = " ".join(read(page(report(optimal_samples, "Real", resamples=10))).words)
    assert "the exact optimum is known only in the lab" in words
    assert "optimum, β" not in words


def single(name: str, scores: list[float]) -> Samples:
    cell = Cell.of([1.0], ["p", "q"], ["yes", "no"], np.array(scores)[:, None])
    return Samples((Objective(name),), (cell,), (cell,))


def test_one_objective_and_missing_scores_still_make_a_page() -> None:
    made = report(single("kind", [0.5, 1.0]), "One", resamples=10)
    assert "kind" in " ".join(read(page(made)).words)
    assert pictures(made) == {}
    lost = report(single("kind", [np.nan, np.nan]), "None", resamples=10)
    assert "Steerability was not measured" in page(lost)


def test_ten_objectives_reuse_colours_without_failing() -> None:
    rng = np.random.default_rng(0)
    objectives = tuple(Objective(f"axis{number}") for number in range(10))
    cells = tuple(Cell.of(row, ["p", "q"], ["a", "b"], rng.random((2, 10))) for row in np.eye(10))
    made = report(Samples(objectives, cells, cells), "Ten", resamples=5)
    read(page(made))
    assert made.card.policy.values["hypervolume"] is not None


def test_scales_and_labels() -> None:
    axis = Axis(1.0, 5.0, 10.0, 110.0)
    assert (axis(1.0), axis(5.0), axis(2.0), axis.ticks()) == (10.0, 110.0, 35.0, [1.0, 3.0, 5.0])
    assert apart([10.0, 40.0], 15.0) == [10.0, 40.0]
    assert apart([20.0, 25.0], 15.0) == [15.0, 30.0]
    assert apart([25.0, 20.0], 15.0) == [30.0, 15.0]
    assert asked_words({"kind": 1.0}, 3) == "only kind"
    assert asked_words({"a": 0.5, "b": 0.5}, 2) == "all equally"
    assert asked_words({"a": 0.5, "b": 0.5}, 3) == "a 0.50 · b 0.50"
