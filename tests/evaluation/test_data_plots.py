"""The pictures of an inspection: those that there are numbers for, and no others; equal numbers give equal files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluralign.data.dataset import Dataset
from pluralign.data.inspect.collect import inspect
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Rater, Rating, Record, Response, user
from pluralign.evaluation.data_plots import length_figure, matrix_figure, pictures, raters_figure, scores_figure, write

OBJECTIVES = (Objective("kind", high=4.0), Objective("risk", direction="lower"))
ANN = Rater("ann")


def dataset(*records: Record, objectives: tuple[Objective, ...] = OBJECTIVES) -> Dataset:
    return Dataset(objectives, lambda tally: iter(records))


def rated(num: int = 12) -> list[Record]:
    return [
        Record(
            user(f"p{i}"),
            tuple(
                Response("x" * (2 + i * (j + 1)), ratings=(Rating({"kind": float((i + j) % 5), "risk": i / 20}, ANN),))
                for j in range(2)
            ),
        )
        for i in range(num)
    ]


def test_every_picture_has_its_numbers(tmp_path: Path) -> None:
    found = pictures(inspect(dataset(*rated())))
    assert list(found) == ["scores.png", "correlation.png", "length.png", "raters.png"]
    assert all(content.startswith(b"\x89PNG") for content in found.values())
    assert pictures(inspect(dataset(*rated()))) == found
    assert [path.name for path in write(inspect(dataset(*rated())), tmp_path)] == list(found)
    assert (tmp_path / "scores.png").read_bytes() == found["scores.png"]


def test_comparisons_alone_have_length_and_conflict() -> None:
    told = (Comparison(0, 1, "first", "kind"), Comparison(0, 1, "second", "risk"))
    record = Record(user("p"), (Response("a"), Response("bb")), told)
    assert list(pictures(inspect(dataset(record)))) == ["conflict.png", "length.png"]


@pytest.mark.parametrize("objectives", [(), OBJECTIVES[:1]])
def test_nothing_to_draw(objectives: tuple[Objective, ...]) -> None:
    assert pictures(inspect(dataset(Record(user("p"), (Response("a"),)), objectives=objectives))) == {}


def test_what_the_pictures_show() -> None:
    """Bars are the counts, titles say the direction, the matrix' numbers stand in its fields, bars of raters are labelled."""
    seen = inspect(dataset(*rated()))
    kind, risk = scores_figure(seen).axes
    assert [bar.get_height() for bar in kind.patches] == seen.spreads[0].histogram["counts"]
    assert "lower is better" in risk.get_title("left")
    assert sum(bar.get_height() for bar in kind.patches) == 24
    matrix = matrix_figure("m", ["a", "b"], [[1.0, -0.5], [-0.5, 1.0]], -1.0).axes[0]
    assert [text.get_text() for text in matrix.texts] == ["-0.50", "-0.50"]
    conflict = matrix_figure("m", ["a", "b"], [[0.0, 0.25], [0.25, 0.0]], 0.0).axes[0]
    assert [text.get_text() for text in conflict.texts] == ["25 %", "25 %"]
    means, wins = length_figure(seen).axes
    assert [tick.get_text() for tick in means.get_xticklabels()] == [f"{step}+" for step in seen.length.at_least]
    assert [bar.get_width() for bar in wins.patches] == pytest.approx((100 * seen.pairs.longer_wins[:1]).tolist())
    bars = raters_figure(((1, 1, 3), (2, 3, 5))).axes[0]
    assert [text.get_text() for text in bars.texts] == ["3", "5"]
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["1", "2 to 3"]


def test_many_objectives_are_drawn_small() -> None:
    names = [f"o{i}" for i in range(30)]
    replies = tuple(Response(f"r{j}", {name: float((i * j) % 3) / 2 for i, name in enumerate(names)}) for j in range(5))
    seen = inspect(dataset(Record(user("p"), replies), objectives=tuple(map(Objective, names))))
    assert len(scores_figure(seen).axes) == 24
    drawn, bar = matrix_figure("m", names, seen.correlation, -1.0).axes  # colours instead of numbers
    assert (len(drawn.texts), len(drawn.get_xticklabels()), drawn is bar) == (0, 30, False)
