"""The options of `pluralign data ACTION` and what each action prints; `cli.py` turns fields into flags.

Here are those that look at files as a whole; those that are about people stand in `people_commands.py`.

`run_` returns (a JSON-able value for --json, the text for people).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from pluralign import data_api
from pluralign.errors import ConfigError

Outcome = tuple[Any, str]
_File = Positional[Annotated[Path, arg(metavar="FILE")]]


@dataclass(frozen=True)
class Validate:
    """Read a file to the end and say what it holds and what is wrong with it."""

    file: _File
    """the file, a folder, or a dataset of the hub"""
    reader: str = "auto"
    """format; see `pluralign data readers`"""
    on_error: Literal["raise", "skip"] = "skip"
    """stop at the first bad row, or count them"""
    map: str | None = None
    """columns of a table that no reader knows: prompt=question,response=answer,helpful=stars"""
    unique_ids: bool = False
    """an id that occurs twice is an error"""
    rejected: Path | None = None
    """write the rejected rows here, with their reasons"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Counts, objectives, repeated ids, and the halo's advice."""
        wishes = (self.map, self.unique_ids, self.rejected)
        value = data_api.validate(self.file, self.reader, self.on_error, *wishes)
        named = ("reader", "objectives", "licence", "rows", "repeated_ids", "halo")
        lines = [f"{name.replace('_', ' ')}: {value[name]}" for name in named]
        lines += [f"  {example}" for example in value["examples"]]
        return value, "\n".join(lines)


@dataclass(frozen=True)
class Convert:
    """Write a file in another format: as records, for TRL, or as a view; joined, or one person's feedback alone."""

    source: _File
    """the file, a folder, or a dataset of the hub"""
    out: Positional[Annotated[Path, arg(metavar="OUT")]]
    """the new file (.jsonl, .jsonl.gz or .parquet)"""
    to: str = "pluralign"
    """pluralign (records), a view (see `pluralign data views`), or trl-FORMAT (trl-preference, ...)"""
    reader: str = "auto"
    """format of the source"""
    conversational: bool = True
    """TRL and views: lists of messages instead of texts"""
    map: str | None = None
    """columns of a table that no reader knows: prompt=question,response=answer,helpful=stars"""
    join: bool = False
    """rows about the same prompt become one record: raters of one reply, replies of one prompt"""
    annotator: str | None = None
    """keep nothing but this person's feedback, for a model of their own"""
    group: str | None = None
    """keep nothing but the feedback of this group's raters"""
    on_error: Literal["raise", "skip"] = "raise"
    """stop at the first bad row, or write it to a side file with its reason and go on"""
    num_weights: int = 1
    """trade-off only: weights drawn for each record"""
    seed: int = 0
    """trade-off only: of the drawn weights"""
    options: tuple[str, ...] = ()
    """of a view: NAME=VALUE ...; see `pluralign data views`"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """How many rows were written, and what could not be."""
        pairs = [each.partition("=") for each in self.options]
        if wrong := [name for name, sign, _ in pairs if not sign]:
            raise ConfigError(f"an option of a view is NAME=VALUE, got {', '.join(wrong)}")
        given: dict[str, Any] = {name: value for name, _, value in pairs}
        flags = {
            "num_weights": (self.num_weights, 1),
            "seed": (self.seed, 0),
            "conversational": (self.conversational, True),
        }
        if twice := [name for name, (value, default) in flags.items() if name in given and value != default]:
            raise ConfigError(f"{', '.join(twice)}: given as a flag and in --options; say it once")
        if self.to == "trade-off":
            given = {"num_weights": self.num_weights, "seed": self.seed} | given
        elif (self.num_weights, self.seed) != (1, 0):
            raise ConfigError(f"--num-weights and --seed act with --to trade-off, not with {self.to}")
        value = data_api.convert(
            *(self.source, self.out, self.to, self.reader, self.conversational, self.map, self.join, self.on_error),
            given,
            annotator=self.annotator,
            group=self.group,
        )
        return value, f"{self.out}: {value['told']}"


@dataclass(frozen=True)
class Readers:
    """List the formats that can be read: columns, hub dataset, licence, objectives."""

    name: Positional[str] = ""
    """one reader only"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """What each reader says of itself."""
        value = data_api.readers(self.name)
        return value, "\n".join(_about_reader(name, about) for name, about in value.items())


def _about_reader(name: str, about: dict[str, Any]) -> str:
    facts = {"hub": about["hub"], "licence": about["licence"], "objectives": _objectives(about["objectives"])}
    rest = [f"{'':<22} {key}: {fact}" for key, fact in facts.items() if fact]
    return "\n".join([f"{name:<22} {about['columns']}", *rest])


def _objectives(given: list[dict[str, Any]] | None) -> str:
    """Those with the same range and the same better end together."""
    if given is None:
        return "those of the file"
    alike: dict[tuple[str, float, float], list[str]] = {}
    for one in given:
        alike.setdefault((one["direction"], one["low"], one["high"]), []).append(one["name"])
    shown = [f"{', '.join(names)} [{low:g}, {high:g}; {end} is better]" for (end, low, high), names in alike.items()]
    return "; ".join(shown) or "none"


@dataclass(frozen=True)
class Views:
    """List the views that `data convert --to` writes: what each row is, its paper, its options."""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Names, papers and options."""
        value = data_api.views()
        lines = []
        for name, about in value.items():
            options = ", ".join(f"{key}={default}" for key, default in about["options"].items()).replace("\n", "\\n")
            lines += [f"{name:<17} {about['about']}", *(f"{'':<17} {x}" for x in (f"paper: {about['paper']}", options))]
        return value, "\n".join(lines)


@dataclass(frozen=True)
class Inspect:
    """Say what a file holds: scores, raters, agreement, conflict, length bias, duplicates, and what to do about them."""

    file: _File
    """the file, a folder, or a dataset of the hub"""
    reader: str = "auto"
    """format; see `pluralign data readers`"""
    on_error: Literal["raise", "skip"] = "skip"
    """stop at the first bad row, or count them"""
    plots: Path | None = None
    """folder for pictures (PNG); none draws none"""
    limit: int | None = None
    """look at so many records from the start; none reads everything"""
    map: str | None = None
    """columns of a table that no reader knows: prompt=question,response=answer,helpful=stars"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Tables and advice; with --json everything that was counted."""
        found = data_api.inspect(self.file, self.reader, self.on_error, self.limit, self.plots, self.map)
        pictures = "" if self.plots is None else f"\n\npictures: {self.plots}"
        return found.to_json(), found.text() + pictures


@dataclass(frozen=True)
class Sample:
    """Draw records from a file, the same for the same seed, in the file's order."""

    file: _File
    """the file, a folder, or a dataset of the hub"""
    out: Positional[Annotated[Path, arg(metavar="OUT")]]
    """the new file of records (.jsonl or .jsonl.gz)"""
    num: int
    """how many records; a larger sample of the same seed holds every smaller one"""
    seed: int = 0
    """of the draw"""
    by: Literal["objective", "annotator", "group", "language"] | None = None
    """take as many from each as evenly possible; a record that names several is of a kind of its own"""
    reader: str = "auto"
    """format of the file"""
    on_error: Literal["raise", "skip"] = "raise"
    """stop at the first bad row, or leave them out and write them to a side file"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """How many records were drawn, and from how many rows."""
        value = data_api.sample(self.file, self.out, self.num, self.seed, self.by, self.reader, self.on_error)
        side = f"\nrejected rows: {value['rejects']}" if value["rejects"] else ""
        return value, f"{value['records']} records: {self.out}, from {value['rows']}{side}"
