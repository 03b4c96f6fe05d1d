"""Labelling functions: rules of thumb written as code, each labels a reply or abstains; together they rate (weak supervision).

Data programming (Ratner et al. 2016, arXiv 1605.07723); the table is Snorkel's (Ratner et al. 2017, arXiv 1711.10160).
The label model is either the majority, or one accuracy per function without any truth (one-coin Dawid-Skene), which
assumes that functions err independently given the class: two copies of one rule count as two witnesses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.data.dawid_skene import estimate
from pluralign.data.evidence import Array
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError

Label = bool | float
MODELS = ("majority", "accuracy")


@dataclass(frozen=True, slots=True)
class LabellingFunction:
    """A rule: `label(record, response)` gives a number (or bool), or None where the rule has nothing to say."""

    name: str
    label: Callable[[Record, Response], Label | None]


@dataclass(frozen=True, slots=True)
class Labels:
    """`matrix` [N, W]: the place in `classes` that function w gave reply n, -1 where it abstained."""

    functions: tuple[str, ...]
    classes: tuple[float, ...]
    matrix: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Summary:
    """One function over all replies: `coverage` is the share it labelled; `overlap` and `conflict` the shares where
    another labelled too, and where another said otherwise; `agreement` the share of the others' labels beside its own
    that are equal to it (NaN without any); `accuracy` is the label model's estimate."""

    function: str
    coverage: float
    overlap: float
    conflict: float
    agreement: float
    accuracy: float


def labels(records: Iterable[Record], functions: Sequence[LabellingFunction]) -> Labels:
    """What every function says of every reply, in order. Raises ConfigError for none or for equal names."""
    told = tuple(function.name for function in functions)
    if not told or len(set(told)) != len(told):
        raise ConfigError(f"labelling functions need names of their own, at least one; got {told}")
    given = [
        [function.label(record, response) for function in functions]
        for record in records
        for response in record.responses
    ]
    classes = sorted({float(label) for row in given for label in row if label is not None})
    place = {label: index for index, label in enumerate(classes)}
    rows = [[-1 if label is None else place[float(label)] for label in row] for row in given]
    return Labels(told, tuple(classes), np.array(rows, dtype=np.intp).reshape(len(rows), len(told)))


def table(found: Labels) -> list[Summary]:
    """One summary per function; shares are of all replies."""
    given = found.matrix >= 0
    others = given.sum(1, keepdims=True) - given
    # the others that say the same
    agreed = np.stack([(found.matrix == own[:, None]).sum(1) for own in found.matrix.T], axis=1) - 1
    with np.errstate(invalid="ignore"):
        agreement = np.where(given, agreed, 0).sum(0) / np.where(given, others, 0).sum(0).astype(float)
    rows = max(len(given), 1)
    columns = zip(
        found.functions,
        given.sum(0) / rows,
        (given & (others > 0)).sum(0) / rows,
        (given & (agreed < others)).sum(0) / rows,
        agreement,
        _accuracy(found)[1],
        strict=True,
    )
    return [Summary(name, *(float(value) for value in values)) for name, *values in columns]


def probabilities(found: Labels, model: str = "majority") -> Array:
    """P(class) [N, C] of each reply; rows of NaN where every function abstained.

    "majority": shares of the votes for the most named class, equal ones sharing it; "accuracy": weighed by estimated
    accuracies, classes as frequent as they seem to be. Raises ConfigError for another model.
    """
    if model not in MODELS:
        raise ConfigError(f"the label model is one of {', '.join(MODELS)}, got {model!r}")
    named = np.asarray((found.matrix >= 0).any(axis=1))[:, None]
    if model == "majority":
        counts = [(found.matrix == place).sum(1) for place in range(len(found.classes))]
        votes = np.array(counts, dtype=np.float64).reshape(len(counts), len(found.matrix)).T
        most = (votes == votes.max(axis=1, keepdims=True, initial=0)).astype(np.float64)
        posterior: Array = most / np.maximum(most.sum(1, keepdims=True), 1)
    else:
        posterior = _accuracy(found)[0]
    return np.where(named, posterior, np.nan)


def labelled(
    records: Sequence[Record], functions: Sequence[LabellingFunction], objective: Objective, model: str = "accuracy"
) -> Iterator[Record]:
    """The records with the expected label of each reply as its score on the objective; absent where all abstained.

    Raises DataError for a reply that already has this score, or a label outside the objective's range.
    """
    found = labels(records, functions)
    if found.classes and not objective.low <= found.classes[0] <= found.classes[-1] <= objective.high:
        ends = f"[{objective.low:g}, {objective.high:g}]"
        raise DataError(f"labels {found.classes} leave the range {ends} of {objective.name}; widen it")
    named = (found.matrix >= 0).any(axis=1)
    expected = iter(np.where(named, probabilities(found, model) @ np.array(found.classes), np.nan).tolist())
    for record in records:
        replies = tuple(_scored(response, objective.name, next(expected)) for response in record.responses)
        yield dataclasses.replace(record, responses=replies)


def _scored(response: Response, name: str, score: float) -> Response:
    if name in response.scores:
        raise DataError(f"a reply already has a score of {name}; give the labels another objective")
    return response if score != score else dataclasses.replace(response, scores={**response.scores, name: score})


def _accuracy(found: Labels) -> tuple[Array, Array]:
    """(P(class) [N, C], accuracy [W]) of the one-coin model; with one class there is nothing to weigh."""
    num_rows, num_functions = found.matrix.shape
    if len(found.classes) < 2:
        return np.ones((num_rows, len(found.classes))), np.full(num_functions, np.nan)
    items, workers = np.nonzero(found.matrix >= 0)
    shape = (num_rows, num_functions, len(found.classes))
    truth = estimate(items, workers, found.matrix[items, workers], shape, balanced=False)
    return truth.posterior, truth.accuracy
