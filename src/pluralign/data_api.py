"""The verbs of `pluralign data` as Python calls: plain files in, plain files out, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pluralign.errors import ConfigError

if TYPE_CHECKING:
    from pluralign.annotation.ask import Sitting
    from pluralign.annotation.desk import Replies
    from pluralign.annotation.questions import Mode
    from pluralign.data.divide import Divided
    from pluralign.data.forget import Forgotten
    from pluralign.data.inspect.inspection import Inspection
    from pluralign.data.sample import By


def validate(
    path: str | Path,
    reader: str = "auto",
    on_error: Literal["raise", "skip"] = "skip",
    mapping: str | None = None,
    unique_ids: bool = False,
    rejected: str | Path | None = None,
) -> dict[str, Any]:
    """Read a file to its end: reader, objectives, licence, counts, repeated ids, and whether its ratings share a halo.

    `unique_ids` refuses an id that occurs twice (DataError); `rejected` is a file for the rejected rows.
    `mapping` describes the columns of a table that no reader knows: "prompt=question,response=answer,helpful=stars".
    """
    from pluralign.data.readers.registry import read
    from pluralign.data.validating import validate as read_through

    if rejected is not None and on_error == "raise":
        raise ConfigError("rejected rows are written with on_error 'skip'; 'raise' stops at the first of them")
    return read_through(read(path, reader, on_error, mapping), path, unique_ids, rejected)


def readers(name: str = "") -> dict[str, dict[str, Any]]:
    """What the readers (or the one of that name) say of themselves: columns, hub, licence, source, objectives."""
    from pluralign.data.readers.registry import about, reader_names

    return {each: about(each) for each in ([name] if name else reader_names())}


def convert(
    source: str | Path,
    out: str | Path,
    to: str = "pluralign",
    reader: str = "auto",
    conversational: bool = True,
    mapping: str | None = None,
    join: bool = False,
    on_error: Literal["raise", "skip"] = "raise",
    options: Mapping[str, Any] | None = None,
    *,
    annotator: str | None = None,
    group: str | None = None,
) -> dict[str, Any]:
    """Convert a file to our records, a TRL format ('trl-preference' ...), trade-off pairs or another view.

    `mapping` describes the columns of a table that no reader knows; `join` makes one record of the rows of a prompt;
    `annotator` and `group` keep nothing but the feedback of that person, of that group's raters.
    `options` are those of the format (trade-off: num_weights, seed). With on_error="skip" rejected rows go to a side
    file. Rows are counted: read = kept + rejected; so is what a format cannot hold.
    """
    from pluralign.data import converting
    from pluralign.data.join import joined
    from pluralign.data.personal import only
    from pluralign.data.readers.registry import read

    given = ({} if to == "pluralign" else {"conversational": conversational}) | dict(options or {})
    dataset = read(source, reader, on_error, mapping)
    if annotator is not None or group is not None:
        dataset = only(dataset, annotator, group)
    done = converting.convert(joined(dataset) if join else dataset, out, to, given)
    counts = {"read": done.tally.read, "kept": done.tally.kept, "rejected": done.tally.rejected}
    side = None if done.rejects is None else str(done.rejects)
    return {"rows": done.rows, "left_out": dict(done.left_out), **counts, "rejects": side, "told": str(done)}


def inspect(
    path: str | Path,
    reader: str = "auto",
    on_error: Literal["raise", "skip"] = "skip",
    limit: int | None = None,
    plots: str | Path | None = None,
    mapping: str | None = None,
) -> Inspection:
    """What a file holds: counts, scores, raters, agreement, conflict, length, duplicates, and advice.

    `limit` looks at the first records only; `plots` is a folder for the pictures (PNG). Raises DataError, StorageError.
    """
    from pluralign.data.inspect.collect import inspect as look_through
    from pluralign.data.readers.registry import read

    found = look_through(read(path, reader, on_error, mapping), str(path), limit)
    if plots is not None:
        from pluralign.evaluation.data_plots import write

        write(found, plots)
    return found


def sample(
    path: str | Path,
    out: str | Path,
    num: int,
    seed: int = 0,
    by: By | None = None,
    reader: str = "auto",
    on_error: Literal["raise", "skip"] = "raise",
) -> dict[str, Any]:
    """Write `num` records drawn by the seed, in the file's order; rejected rows go to a side file with their reasons."""
    from pluralign.data import jsonl
    from pluralign.data.readers.registry import read
    from pluralign.data.rejects import rejects, rejects_path
    from pluralign.data.sample import sample as draw

    dataset = read(path, reader, on_error)
    with rejects(rejects_path(out)) as tally:
        records = draw(dataset, num, seed, by, tally)
        written = jsonl.write(out, records, dataset.objectives, dataset.licence, dataset.source)
    side = str(rejects_path(out)) if tally.rejected else None
    return {"records": written, "rows": str(tally), "read": tally.read, "kept": tally.kept, "rejects": side}


def annotate(
    source: str | Path,
    out: str | Path,
    *,
    annotator: str = "me",
    group: str | None = None,
    mode: Mode | None = None,
    objectives: str | None = None,
    seed: int | None = None,
    replies: Replies | None = None,
    reader: str = "auto",
) -> Sitting:
    """Ask one person about the replies of a file, in the terminal, from where they stopped; `out` gets their feedback.

    Reads keys from standard input and draws on standard error. None means as this annotator began (at first: "auto",
    the file's objectives, seed 0). `replies` fills prompts that have none (`api.replies_from`). Raises DataError,
    ConfigError, StorageError; KeyboardInterrupt after Ctrl-C, with every answer kept.
    """
    from pluralign.annotation.ask import Wishes, ask
    from pluralign.data.readers.registry import read

    wishes = Wishes(annotator, group, mode, objectives, seed)
    return ask(Path(out), str(source), lambda: read(source, reader), wishes, replies)


def forget(path: str | Path, annotator: str, out: str | Path | None = None, reader: str = "auto") -> Forgotten:
    """Remove everything that an annotator gave, in place (whole or not at all) or into `out`.

    In place, the annotation folder beside the file forgets them too. Raises ConfigError, DataError, StorageError.
    """
    from pluralign.annotation.desk import Desk, folder_of
    from pluralign.data.forget import Forgotten, forget_in_file

    if out is not None or not (folder_of(path) / "about.json").exists():
        return forget_in_file(path, path if out is None else out, annotator, reader)
    found = Forgotten()

    def rewrite(file: Path) -> None:
        nonlocal found
        found = forget_in_file(file, file, annotator)

    desk = Desk(path)
    try:
        desk.forget(annotator, rewrite)
    finally:
        desk.close()
    return found


def split(
    path: str | Path,
    out: str | Path,
    fractions: str | dict[str, float],
    by: str = "prompt",
    seed: int = 0,
    reader: str = "auto",
    on_error: Literal["raise", "skip"] = "raise",
) -> Divided:
    """Divide a file into parts in the new folder `out`, without a leak; rejected rows go to `out`.rejected.jsonl.

    `fractions` is a text ("train=.9,test=.1") or the shares by name; `by` is prompt, annotator, group or the name of a
    demographic. Raises ConfigError, DataError, StorageError.
    """
    from pluralign.data.divide import divide_file, parse_fractions
    from pluralign.data.rejects import rejects

    shares = parse_fractions(fractions) if isinstance(fractions, str) else fractions
    if on_error == "raise":
        return divide_file(path, out, shares, by, seed, reader)
    with rejects(f"{out}.rejected.jsonl") as tally:
        return divide_file(path, out, shares, by, seed, reader, on_error, tally)


def views() -> dict[str, dict[str, Any]]:
    """What each view of `convert` is: about, paper, options with their defaults."""
    from pluralign.data import converting
    from pluralign.data.views import find, names

    found = {name: find(name) for name in names()}
    listed = {name: {"about": v.about, "paper": v.paper, "options": dict(v.defaults)} for name, v in found.items()}
    return {converting.TRADE_OFF: converting.about_trade_off(), **listed}
