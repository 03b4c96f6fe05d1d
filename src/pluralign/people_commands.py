"""The options of those actions of `pluralign data` that are about people: split, annotate, forget.

`run_` returns (a JSON-able value for --json, the text for people).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from pluralign import data_api
from pluralign.errors import ConfigError

Outcome = tuple[Any, str]
_File = Positional[Annotated[Path, arg(metavar="FILE")]]


@dataclass(frozen=True)
class Split:
    """Divide a file into parts that share no prompt, no annotator or no group."""

    file: _File
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
        rows += [f"{name}: EMPTY; {self._why_empty()}" for name in found.empty]
        value = {
            "read": found.tally.read,
            "kept": found.tally.kept,
            "rejected": found.tally.rejected,
            "records": {**dict.fromkeys(found.empty, 0), **found.records},
            "given": dict(found.given),
            "feedback": {name: dict(counts) for name, counts in found.feedback.items()},
        }
        return value, "\n".join([f"in: {found.tally}; {_counted(found.given)}", *rows, f"folder: {self.out}"])

    def _why_empty(self) -> str:
        what = {"prompt": "prompts", "annotator": "annotators", "group": "groups"}.get(
            self.by, f"answers to {self.by!r}"
        )
        return f"the {what} are too few for this share; try another --seed or other --fractions"


@dataclass(frozen=True)
class Annotate:
    """Rate or compare replies in the terminal, key by key; every answer is kept at once, and the next time goes on."""

    file: _File
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
        return asdict(done), text + self._warning(done.unused)

    def _warning(self, unused: Mapping[str, int]) -> str:
        if not unused:
            return ""
        about = ", ".join(f"{name} ({num})" for name, num in sorted(unused.items()))
        return (
            f"\nWARNING: the file has scores of its own, and training takes those instead of your answers about {about}. "
            f"To train on yours alone: pluralign data convert {self.out} OUT --annotator {self.annotator}"
        )

    def _replies(self) -> Any:
        if self.policy is None:
            return None
        from pluralign import api

        return api.replies_from(self.policy, self.steer, seed=self.seed or 0)


@dataclass(frozen=True)
class Forget:
    """Remove everything that one annotator gave from a file."""

    file: _File
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


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{num} {kind}" for kind, num in sorted(counts.items()) if num) or "no feedback"
