"""The feedback of one person, or of one group, alone: what a model of their own is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from pluralign.data import attribution
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.record import Rater, Record
from pluralign.errors import DataError


def only(dataset: Dataset, annotator: str | None = None, group: str | None = None) -> Dataset:
    """The same dataset with nothing but this annotator's (this group's) feedback; records without any are left out.

    Scores and thumbs that name nobody go, so that training uses the ratings; a score that is the mean of the ratings
    in its record becomes the mean of those that stay. A tally counts rows, as before. A pass that meets none of their
    feedback ends with DataError.
    """

    def keeps(rater: Rater | None) -> bool:
        return rater is not None and annotator in (None, rater.id) and group in (None, rater.group)

    def stream(tally: Tally) -> Iterator[Record]:
        found = False
        for record in dataset.records(tally):
            piece, num = attribution.restrict(record, keeps, nameless=False)
            if num.total():
                found = True
                yield attribution.scrubbed(piece, _others(record, keeps))[0]
        if not found:
            raise DataError(_nobody(annotator, group))

    return dataclasses.replace(dataset, stream=stream)


def _others(record: Record, keeps: attribution.Keeps) -> set[str]:
    """The ids of those whose feedback goes."""
    raters = [item.rater for _, item in attribution.feedback(record) if item.rater is not None and item.rater.id]
    return {rater.id for rater in raters if not keeps(rater)} - {rater.id for rater in raters if keeps(rater)}


def _nobody(annotator: str | None, group: str | None) -> str:
    named = {"the annotator": annotator, "the group": group}
    asked = " and ".join(f"{kind} {name!r}" for kind, name in named.items() if name is not None)
    return f"no feedback names {asked}; `pluralign data inspect FILE --json` lists the groups and the busiest raters"
