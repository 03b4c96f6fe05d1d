"""A file read to its end: what it holds, what is wrong with its rows, and whether ids or ratings repeat themselves."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.halo import halo
from pluralign.data.inspect.ids import Ids, RepeatedIds
from pluralign.data.inspect.store import Store
from pluralign.data.rejects import rejects
from pluralign.errors import DataError


def validate(
    dataset: Dataset, path: str | Path, unique_ids: bool = False, rejected: str | Path | None = None
) -> dict[str, Any]:
    """Reader, objectives, licence, counts, records whose id occurred before, and whether ratings share a halo.

    Rejected rows go to the file `rejected`, where one is named. Raises DataError where no record is usable, and with
    `unique_ids` for an id that occurs twice (file and line of the second), StorageError.
    """
    with contextlib.nullcontext(Tally()) if rejected is None else rejects(rejected) as tally:
        repeated = _repeated(dataset, tally)
    if not tally.kept:
        raise DataError(f"holds no usable record: {tally}", path=path)
    if unique_ids and repeated.again:
        more = f" ({repeated.again} records repeat an id)" if repeated.again > 1 else ""
        reason = f"the record's id occurred before, on line {repeated.first}{more}; give each record an id of its own"
        raise DataError(reason, path=path, line=repeated.line)
    return {
        "reader": dataset.reader,
        "objectives": ", ".join(f"{o.name} [{o.low:g}, {o.high:g}]" for o in dataset.objectives) or "none",
        "licence": dataset.licence or "not declared",
        "rows": str(tally),
        "read": tally.read,
        "kept": tally.kept,
        "examples": list(tally.examples),
        "rejected": tally.rejected,
        "rejects": str(rejected) if rejected is not None and tally.rejected else None,
        "repeated_ids": repeated.again,
        "halo": halo(dataset, dataset.objectives).advice if len(dataset.objectives) > 1 else "only one objective",
    }


def _repeated(dataset: Dataset, tally: Tally) -> RepeatedIds:
    """One pass over the records, and what it says of their ids."""
    with Store() as store:
        ids = Ids(store)
        for record in dataset.records(tally):
            ids.add(record.id, tally.line)
        return ids.result()
