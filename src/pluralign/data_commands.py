"""The options of `pluralign data ACTION` and what each action prints; `cli.py` turns fields into flags.

`run_` returns (a JSON-able value for --json, the text for people).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from pluralign import data_api
from pluralign.errors import ConfigError

Outcome = tuple[Any, str]


@dataclass(frozen=True)
class Validate:
    """Read a file to the end and say what it holds and what is wrong with it."""

    file: Positional[Path]
    """the file"""
    reader: str = "auto"
    """format; see `pluralign data readers`"""
    on_error: Literal["raise", "skip"] = "skip"
    """stop at the first bad row, or count them"""
    map: str | None = None
    """columns of a table that no reader knows: prompt=question,response=answer,helpful=stars"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Counts, objectives, and the halo's advice."""
        value = data_api.validate(self.file, self.reader, self.on_error, self.map)
        lines = [f"{name}: {value[name]}" for name in ("reader", "objectives", "licence", "rows", "halo")]
        lines += [f"  {example}" for example in value["examples"]]
        return value, "\n".join(lines)


@dataclass(frozen=True)
class Convert:
    """Convert a file to another format."""

    source: Positional[Path]
    """the file"""
    out: Positional[Path]
    """the new file"""
    to: str = "pluralign"
    """pluralign, trl-FORMAT (trl-preference, trl-prompt-completion, ...), trade-off, or another view"""
    reader: str = "auto"
    """format of the source"""
    conversational: bool = True
    """TRL and views: lists of messages instead of texts"""
    map: str | None = None
    """columns of a table that no reader knows: prompt=question,response=answer,helpful=stars"""
    join: bool = False
    """rows about the same prompt become one record: raters of one reply, replies of one prompt"""

    on_error: Literal["raise", "skip"] = "raise"
    """stop at the first bad row, or write it to a side file with its reason and go on"""
    num_weights: int = 1
    """trade-off only: weights drawn for each record"""
    seed: int = 0
    """trade-off only: of the drawn weights"""
    options: tuple[str, ...] = ()
    """of a view: NAME=VALUE ..."""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """How many rows were written, and what could not be."""
        pairs = [each.partition("=") for each in self.options]
        if wrong := [name for name, sign, _ in pairs if not sign]:
            raise ConfigError(f"an option of a view is NAME=VALUE, got {', '.join(wrong)}")
        given: dict[str, Any] = {name: value for name, _, value in pairs}
        if self.to == "trade-off":
            given |= {"num_weights": self.num_weights, "seed": self.seed}
        elif (self.num_weights, self.seed) != (1, 0):
            raise ConfigError(f"--num-weights and --seed act with --to trade-off, not with {self.to}")
        value = data_api.convert(
            self.source, self.out, self.to, self.reader, self.conversational, self.map, self.join, self.on_error, given
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

    file: Positional[Path]
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

    file: Positional[Path]
    """the file"""
    out: Positional[Path]
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


@dataclass(frozen=True)
class Annotate:
    """Rate or compare replies in the terminal, key by key; every answer is kept at once, and the next time goes on."""

    file: Positional[Path]
    """prompts and replies in any format; their feedback is kept, and yours is added"""
    out: Path
    """the new file of records; the folder beside it (.annotation) keeps every answer"""
    mode: Literal["rate", "compare", "auto"] | None = None
    """auto (at first) rates single replies and compares several; none given goes on as you began"""
    objectives: str | None = None
    """e.g. helpful:1-5,funny:1-5, or names alone to compare on; none given means the file's, else 'preferred'"""
    annotator: str = "me"
    """a pseudonym of yours; each annotator of one file has their own answers"""
    group: str | None = None
    """a group that you speak for"""
    seed: int | None = None
    """of the sides on which two replies are shown (and of drawn replies)"""
    policy: str | None = None
    """run, policy folder or base model ('lab' is shipped) that replies to prompts without a reply, twice each"""
    steer: str | None = None
    """condition under which it replies, e.g. 'helpful=.7,brief=.3'"""
    reader: str = "auto"
    """format of the file"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """How many answers stand."""
        if self.steer is not None and self.policy is None:
            raise ConfigError("--steer says how a policy replies; name it with --policy")
        wishes: dict[str, Any] = {
            "annotator": self.annotator,
            "group": self.group,
            "mode": self.mode,
            "objectives": self.objectives,
        }
        done = data_api.annotate(
            self.file, self.out, **wishes, seed=self.seed, replies=self._replies(), reader=self.reader
        )
        left = done.questions - done.answered
        more = f"; {left} to go, the same command goes on" if left else ""
        waiting = f"; {done.waiting} comment(s) wait for their verdict" if done.waiting else ""
        unasked = f"\n{done.unasked} records have nothing to ask (no reply, or one to compare)" if done.unasked else ""
        text = f"{done.answered} of {done.questions} answered, comments: {done.comments}{more}{waiting}: {self.out}{unasked}"
        return asdict(done), text

    def _replies(self) -> Any:
        if self.policy is None:
            return None
        from pluralign import api

        return api.replies_from(self.policy, self.steer, seed=self.seed or 0)


@dataclass(frozen=True)
class Forget:
    """Remove everything that one annotator gave from a file."""

    file: Positional[Path]
    """the file; a record file is changed in place, whole or not at all"""
    annotator: str
    """whose feedback goes"""
    out: Path | None = None
    """write here instead, and leave the file as it is"""
    reader: str = "auto"
    """format of the file"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """What was removed, what was made anew, and what may still hold their share."""
        found = data_api.forget(self.file, self.annotator, self.out, self.reader)
        removed = _counted(found.removed) if found.removed else "nothing; no feedback in this file names that annotator"
        lines = [f"removed: {removed}", f"touched: {found.touched} of {found.records} records: {self.out or self.file}"]
        lines += [f"scores made anew from the other ratings: {found.recomputed}"] if found.recomputed else []
        if found.uncertain:
            lines.append(f"WARNING: what names no rater may still hold their share: {_counted(found.uncertain)}")
        return found.to_json(), "\n".join(lines)


@dataclass(frozen=True)
class Split:
    """Divide a file into parts that share no prompt, no annotator or no group."""

    file: Positional[Path]
    """the file"""
    out: Path
    """new folder; one file of records per part"""
    fractions: str = "train=.9,validation=.05,test=.05"
    """parts and their expected shares, which sum to 1"""
    by: str = "prompt"
    """prompt, annotator, group, or the name of a demographic of the raters; what names none goes to 'unattributed'"""
    seed: int = 0
    """decides together with the prompt's text or the person's key, whatever the order"""
    reader: str = "auto"
    """format of the file"""
    on_error: Literal["raise", "skip"] = "raise"
    """stop at the first bad row, or leave them out and write them to a side file"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Records and feedback of each part."""
        found = data_api.split(self.file, self.out, self.fractions, self.by, self.seed, self.reader, self.on_error)
        rows = [f"{name}: {num} records, {_counted(found.feedback[name])}" for name, num in found.records.items()]
        value = {
            "read": found.tally.read,
            "kept": found.tally.kept,
            "rejected": found.tally.rejected,
            "records": dict(found.records),
            "given": dict(found.given),
            "feedback": {name: dict(counts) for name, counts in found.feedback.items()},
        }
        return value, "\n".join([f"in: {found.tally}; {_counted(found.given)}", *rows, f"folder: {self.out}"])


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{num} {kind}" for kind, num in sorted(counts.items()) if num) or "no feedback"
