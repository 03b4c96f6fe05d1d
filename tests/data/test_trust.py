"""Whose labels can be trusted: Dawid-Skene, ε of raters, labelling functions and their label model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from data_strategies import OBJECTIVES
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data.conversions.labelling import LabellingFunction, Labels, labelled, labels, probabilities, table
from pluralign.data.conversions.rater_noise import rater_noise
from pluralign.data.dawid_skene import estimate
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Ranking, Rater, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError


def test_one_step_by_hand() -> None:
    # two items, three workers: item 0 gets 0, 0, 1; item 1 gets 1, 1, 1. Shares: (2/3, 1/3) and (0, 1)
    triplets = np.array([(0, 0, 0), (0, 1, 0), (0, 2, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)]).T
    truth = estimate(*triplets, shape=(2, 3, 2), steps=1)
    # accuracies with 4 right and 1 wrong pseudo-labels: (2/3 + 1 + 4) / 7 twice, (1/3 + 1 + 4) / 7
    a, b = 17 / 21, 16 / 21
    assert truth.accuracy == pytest.approx([a, a, b]) and truth.counts.tolist() == [2, 2, 2]
    odds = (a / (1 - a)) ** 2 * (1 - b) / b
    assert truth.posterior[0, 0] == pytest.approx(odds / (1 + odds))
    assert truth.posterior[1, 1] == pytest.approx(1 / (1 + (1 - a) ** 2 * (1 - b) / (a * a * b)))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_objective_never_falls_and_row_order_does_not_matter(rows: list[tuple[int, ...]], balanced: bool) -> None:
    triplets = np.array(rows, dtype=np.intp)
    truth = estimate(*triplets.T, shape=(6, 4, 3), balanced=balanced)
    assert (np.diff(truth.objective) > -1e-9).all()
    assert truth.posterior.sum(1) == pytest.approx(1) and ((truth.accuracy > 0) & (truth.accuracy < 1)).all()
    shuffled = estimate(*triplets[::-1].T, shape=(6, 4, 3), balanced=balanced)
    assert shuffled.accuracy == pytest.approx(truth.accuracy, abs=1e-6)
    # renaming the classes renames the answer
    renamed = estimate(triplets[:, 0], triplets[:, 1], 2 - triplets[:, 2], shape=(6, 4, 3), balanced=balanced)
    assert renamed.posterior[:, ::-1] == pytest.approx(truth.posterior, abs=1e-5)


def test_three_classes_recover_the_workers() -> None:
    rng = np.random.default_rng(1)
    accuracy = np.array([0.95, 0.8, 0.7, 0.5])
    truth = rng.integers(3, size=800)
    right = rng.random((800, 4)) < accuracy
    given_labels = np.where(right, truth[:, None], (truth[:, None] + rng.integers(1, 3, (800, 4))) % 3)
    items, workers = np.indices((800, 4)).reshape(2, -1)
    found = estimate(items, workers, given_labels.reshape(-1), shape=(800, 4, 3))
    assert found.accuracy == pytest.approx(accuracy, abs=0.05)
    assert (found.posterior.argmax(1) == truth).mean() > (given_labels[:, 0] == truth).mean()
    with pytest.raises(ConfigError, match="above 0 and classes at least 2"):
        estimate(items, workers, given_labels.reshape(-1), shape=(800, 4, 3), wrong=0)


def crowd(noise: dict[str, float], num: int = 300) -> list[Record]:
    """Pairs of which the first reply is truly better half of the time; raters say the opposite at these rates."""
    rng = np.random.default_rng(0)
    records = []
    for _ in range(num):
        first_is_better = rng.random() < 0.5
        said = {name: first_is_better != (rng.random() < rate) for name, rate in noise.items()}
        comparisons = [
            Comparison(0, 1, "first" if first else "second", "kind", rater=Rater(name)) for name, first in said.items()
        ]
        records.append(Record(user("q"), (Response("a"), Response("b")), tuple(comparisons)))
    return records


def test_the_noise_of_raters_is_recovered() -> None:
    true = {"careful": 0.03, "fair": 0.15, "hasty": 0.3, "liar": 0.9}
    found = rater_noise(crowd(true), OBJECTIVES)
    assert found.epsilon == pytest.approx(true, abs=0.06)
    assert found.overall == pytest.approx(np.mean(list(found.epsilon.values()))) and found.shared == 1
    assert found.num_labels == dict.fromkeys(true, 300) and found.smoothing() == found.overall
    backwards = rater_noise(crowd(true)[::-1], OBJECTIVES)
    assert backwards.epsilon == pytest.approx(found.epsilon, abs=1e-6)


def test_one_rater_alone_stays_at_the_prior() -> None:
    found = rater_noise(crowd({"only": 0.4}), OBJECTIVES)
    assert found.epsilon["only"] == pytest.approx(0.2, abs=1e-3) and found.shared == 0
    sceptical = rater_noise(crowd({"only": 0.4}), OBJECTIVES, right=1, wrong=9)
    assert sceptical.smoothing() == 0.45 < sceptical.overall


def test_judgements_come_from_comparisons_rankings_and_ratings() -> None:
    ann, ben = Rater("ann"), Rater("ben")
    replies = (
        Response("a", ratings=(Rating({"kind": 4.0, "rude": 0.0}, ann), Rating({"kind": 1.0}, ben), Rating({"kind": 2.0}))),
        Response("b", ratings=(Rating({"kind": 2.0, "rude": 3.0}, ann), Rating({"kind": None}, ben), Rating({"kind": 9.0}))),
        Response("c"),
    )  # fmt: skip
    comparisons = (Comparison(1, 0, "second", "kind"), Comparison(0, 1, "tie", "kind", rater=ben))
    record = Record(user("q"), replies, comparisons, (Ranking(((2,), (0, 1)), "kind", ben),))
    objectives = (Objective("kind", high=4), Objective("rude", high=4, direction="lower"))
    found = rater_noise([record], objectives)
    assert found.num_labels == {"": 1, "ann": 2, "ben": 2}  # ann on kind and on rude; ben's two pairs of the ranking
    assert found.shared == 0.4  # the nameless comparison and ann agree on (a, b, kind)
    with pytest.raises(DataError, match="nobody judged"):
        rater_noise([Record(user("q"), replies[2:])], objectives)


def rules() -> list[LabellingFunction]:
    return [
        LabellingFunction("short", lambda record, reply: True if len(reply.text) < 3 else None),
        LabellingFunction("vowel", lambda record, reply: reply.text[0] in "aeiou"),
        LabellingFunction("silent", lambda record, reply: None),
    ]


def test_the_table_by_hand() -> None:
    records = [Record(user("q"), tuple(Response(text) for text in ("a", "b", "axe", "bed")))]
    found = labels(records, rules())
    assert found.classes == (0.0, 1.0) and found.matrix.tolist() == [[1, 1, -1], [1, 0, -1], [-1, 1, -1], [-1, 0, -1]]
    short, vowel, silent = table(found)
    assert (short.coverage, short.overlap, short.conflict, short.agreement) == (0.5, 0.5, 0.25, 0.5)
    assert (vowel.coverage, vowel.overlap, vowel.conflict, vowel.agreement) == (1.0, 0.5, 0.25, 0.5)
    assert (silent.coverage, silent.overlap, silent.conflict) == (0, 0, 0) and math.isnan(silent.agreement)
    assert silent.accuracy == pytest.approx(0.8)  # the prior
    assert probabilities(found).tolist() == [[0, 1], [0.5, 0.5], [0, 1], [1, 0]]
    with pytest.raises(ConfigError, match="majority, accuracy"):
        probabilities(found, "best")
    with pytest.raises(ConfigError, match="names of their own"):
        labels(records, rules()[:1] * 2)


def test_accuracies_outvote_a_majority_of_bad_rules() -> None:
    rng = np.random.default_rng(0)
    accuracy = np.array([0.95, 0.93, 0.55, 0.55, 0.55])
    truth = rng.integers(2, size=600)
    matrix = np.where(rng.random((600, 5)) < accuracy, truth[:, None], 1 - truth[:, None])
    matrix[rng.random((600, 5)) < 0.2] = -1
    found = Labels(tuple("abcde"), (0.0, 1.0), matrix)
    assert [row.accuracy for row in table(found)] == pytest.approx(accuracy, abs=0.06)
    named = (matrix >= 0).any(1)
    weighed, plain = (
        (probabilities(found, model)[named].argmax(1) == truth[named]).mean() for model in ("accuracy", "majority")
    )
    assert weighed > plain + 0.05


def test_labels_become_scores_and_silence_none() -> None:
    records = [Record(user("q"), (Response("a"), Response("bed"), Response("xyz")))]
    functions = [LabellingFunction("stars", lambda record, reply: {"a": 4, "bed": 1}.get(reply.text))]
    functions.append(LabellingFunction("more", lambda record, reply: {"a": 2}.get(reply.text)))
    stars = Objective("stars", high=5)
    (record,) = labelled(records, functions, stars, "majority")
    assert [reply.scores for reply in record.responses] == [{"stars": 3.0}, {"stars": 1.0}, {}]
    with pytest.raises(DataError, match="already has a score of stars"):
        list(labelled([record], functions, stars))
    with pytest.raises(DataError, match="leave the range"):
        list(labelled(records, functions, Objective("stars")))
    (bare,) = labelled(records, rules()[2:], stars)
    assert bare == records[0]
    (constant,) = labelled(records, [LabellingFunction("yes", lambda record, reply: True)], stars)
    assert [reply.scores["stars"] for reply in constant.responses] == [1.0] * 3
