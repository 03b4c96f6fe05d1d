"""Labels beside points: at the upper right where there is room, elsewhere where there is none."""

from __future__ import annotations

import numpy as np

from pluralign.comparison.labels import GAPS, HEIGHT, LETTER, MARKER, places


def test_alone_a_label_stands_at_the_upper_right() -> None:
    found = places(np.array([[0.0, 0.0], [500.0, 3.0]]), [1, 2])
    near = MARKER + GAPS[0]
    np.testing.assert_allclose(found[0], [near + LETTER / 2, near + HEIGHT / 2])
    np.testing.assert_allclose(found[1] - [500, 3], [near + LETTER, near + HEIGHT / 2])
    assert places(np.zeros((0, 2)), []).shape == (0, 2)


def test_labels_of_a_crowd_cover_neither_marks_nor_each_other() -> None:
    points = np.array([[x * 13.0, y * 14.0] for x in range(3) for y in range(3)])
    found = places(points, [2] * 9)
    half = np.array([LETTER, HEIGHT / 2])
    for place, middle in enumerate(found):
        others = np.delete(found, place, 0)
        assert (np.abs(middle - others) >= 2 * half - 1e-6).any(1).all()
        assert (np.abs(middle - points) >= half + MARKER - 1e-6).any(1).all()


def test_where_everything_is_covered_the_least_covered_place_is_taken() -> None:
    """A hundred points on one spot: every label has a place, and the first has the best."""
    points = np.zeros((100, 2))
    found = places(points, [3] * 100)
    assert found.shape == (100, 2) and np.isfinite(found).all()
    np.testing.assert_allclose(found[0], [MARKER + GAPS[0] + 1.5 * LETTER, MARKER + GAPS[0] + HEIGHT / 2])
