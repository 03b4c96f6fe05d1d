"""One file into another: our records, TRL's formats, and views; every row of the source is kept or rejected, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pluralign.data import jsonl, lines, pair_rows, pairs, parquet, views
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.readers import trl
from pluralign.data.record import Record
from pluralign.data.rejects import rejects, rejects_path
from pluralign.errors import ConfigError, DataError
from pluralign.storage import atomic_file

TRADE_OFF = "trade-off"
_OPTIONS = {TRADE_OFF: {"num_weights": 1, "seed": 0, "conversational": True}}
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a file: rows written, a count by kind of what the format cannot hold, the source's tally, and the
    side file of the rejected rows (None without any)."""

    rows: int
    tally: Tally
    rejects: Path | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        side = f"\nrejected rows with their reasons: {self.rejects}" if self.rejects else ""
        left = f"\nleft out: {dict(self.left_out)}" if self.left_out else ""
        return f"{self.rows} rows written; in: {self.tally}{left}{side}"


def convert(
    dataset: Dataset, out: str | Path, to: str = "pluralign", options: Mapping[str, Any] | None = None
) -> Converted:
    """Write the records of a data set as `to` says: pluralign, trl-FORMAT, trade-off, or another view (`views.names()`).

    Rows that the data set rejects go to `rejects_path(out)`. `options` are those of the format (trl: conversational;
    trade-off: num_weights, seed, conversational; views: theirs). Raises ConfigError, DataError, StorageError.
    """
    _check_ending(Path(out))
    write = _writer(to, dict(options or {}))
    with rejects(rejects_path(out)) as tally:
        num, left_out = write(out, dataset, tally)
    return Converted(num, tally, rejects_path(out) if tally.rejected else None, left_out)


def about_trade_off() -> dict[str, Any]:
    """What trade-off pairs are: about, paper, options with their defaults, as `views` says it of the others."""
    about = "pairs judged under drawn weights: the reply with the larger weighted score wins; rows carry the weights"
    return {"about": about, "paper": "after CMPO, Manyika 2024", "options": dict(_OPTIONS[TRADE_OFF])}


Write = Callable[[str | Path, Dataset, Tally], tuple[int, Mapping[str, int]]]


def _check_ending(out: Path) -> None:
    """Raise ConfigError for an ending that cannot hold nested rows."""
    name = out.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv", ".txt", ".arrow")):
        raise ConfigError(
            f"{out} cannot be written: rows here are nested (messages, scores by name), which CSV and text cannot hold, "
            "and Arrow files are not compressed; write .jsonl, .jsonl.gz or .parquet"
        )


def _writer(to: str, options: dict[str, Any]) -> Write:
    if to == "pluralign":
        _only(to, options, {})
        return _records
    if to.startswith("trl-"):
        return _trl(to.removeprefix("trl-").replace("-", "_"), _only(to, options, {"conversational": True}))
    if to == TRADE_OFF:
        return _trade_off(_only(to, options, _OPTIONS[TRADE_OFF]))
    if to not in views.names():
        known = ", ".join(["pluralign", "trl-FORMAT (e.g. trl-preference)", TRADE_OFF, *views.names()])
        raise ConfigError(f"cannot convert to {to!r}; known are: {known}")
    return _view(views.find(to), options)


def _only(to: str, options: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise ConfigError(f"{to} has no option {', '.join(unknown)}; it has: {', '.join(defaults) or 'none'}")
    return {name: views.read_option(name, options.get(name, value), value) for name, value in defaults.items()}


def _records(out: str | Path, dataset: Dataset, tally: Tally) -> tuple[int, Mapping[str, int]]:
    write = parquet.write if Path(out).suffix == ".parquet" else jsonl.write
    return write(out, dataset.records(tally), dataset.objectives, dataset.licence, dataset.source), {}


def _trl(name: str, options: dict[str, Any]) -> Write:
    def write(out: str | Path, dataset: Dataset, tally: Tally) -> tuple[int, Mapping[str, int]]:
        if Path(out).suffix == ".parquet":
            raise ConfigError("TRL's formats are written as .jsonl or .jsonl.gz, which TRL reads as well as Parquet")
        written = trl.write(out, dataset.records(tally), name, options["conversational"])
        return written.num_rows, dict(written.left_out)

    return write


def _trade_off(options: dict[str, Any]) -> Write:
    def write(out: str | Path, dataset: Dataset, tally: Tally) -> tuple[int, Mapping[str, int]]:
        found = pairs.pairs(dataset.records(tally), dataset.objectives, options["num_weights"], options["seed"])
        return pair_rows.write(out, found, dataset.objectives, options["conversational"]), {}

    return write


def _view(view: views.View, options: dict[str, Any]) -> Write:
    def write(out: str | Path, dataset: Dataset, tally: Tally) -> tuple[int, Mapping[str, int]]:
        found = _some(view(_Counted(dataset, tally), dataset.objectives, options), view)
        return (_table(out, found) if Path(out).suffix == ".parquet" else lines.write(out, map(lines.dump, found))), {}

    return write


def _some(found: Iterable[dict[str, Any]], view: views.View) -> Iterator[dict[str, Any]]:
    """The rows of a view; without one, DataError before the file is there."""
    row = None
    for row in found:
        yield row
    if row is None:
        options = f" with other --options ({', '.join(view.defaults)})" if view.defaults else ""
        raise DataError(
            f"no record holds anything for {view.name}: {view.about}; try it{options}, choose another view, or, where "
            "the replies of a prompt stand in several rows, add --join"
        )


class _Counted:
    """The records of a data set, counted in the first pass only: a view may read them twice."""

    def __init__(self, dataset: Dataset, tally: Tally) -> None:
        self._dataset, self._tallies = dataset, iter([tally])

    def __iter__(self) -> Iterator[Record]:
        return self._dataset.records(next(self._tallies, None))


def _table(out: str | Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as Parquet; the columns' types are those of the first rows. Raises DataError where later ones differ."""
    import pyarrow
    from pyarrow import parquet as files

    stream, num = iter(rows), 0
    first = list(islice(stream, _BATCH))
    if not first:
        return 0
    schema = _settled(pyarrow.Table.from_pylist(first).schema)
    with atomic_file(out) as temporary, files.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in chain([first], iter(lambda: list(islice(stream, _BATCH)), [])):
            try:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
                raise DataError(f"a row does not fit the columns of the first ones ({error}); write .jsonl") from error
            num += len(batch)
    return num


def _settled(schema: Any) -> Any:
    """Columns that were empty so far: margins are numbers, the others texts."""
    import pyarrow

    for place, column in enumerate(schema):
        if pyarrow.types.is_null(column.type):
            kind = pyarrow.float64() if column.name == "margin" else pyarrow.string()
            schema = schema.set(place, column.with_type(kind))
    return schema
