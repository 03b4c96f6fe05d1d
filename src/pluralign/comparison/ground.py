"""What every row of a seed stands on: the records to learn from, the prompts to answer, the judge, and the base's replies.

Made once per seed and kept on the disk, so that all rows have the same. Two kinds: the lab, with its exact judge and
its exact optimum; and people's own data with a base model and a scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from pluralign.comparison import kept_cells
from pluralign.comparison.entry import Entry
from pluralign.comparison.shown import plain_name
from pluralign.comparison.wins import by_wins
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError
from pluralign.recipes.file_job import Data, TrainOptions, base_model, load_data

if TYPE_CHECKING:
    from pluralign.evaluation.sampled import SampledEvaluation
    from pluralign.evaluation.samples import Cell
    from pluralign.evaluation.utility import Yardstick

POOL, BASE, HELD_OUT, JUDGED = "pool.jsonl", "base.json.gz", "prompts.jsonl", "held_out.jsonl"


class Ground(Protocol):
    """What a comparison needs to know of its world. `folder` is the seed's."""

    @property
    def model(self) -> str:
        """The base model that every row starts from."""

    @property
    def device(self) -> str:
        """Where it runs."""

    @property
    def about(self) -> str:
        """One sentence for the page."""

    def make_pool(self, folder: Path, seed: int) -> None:
        """Write what all rows learn from."""

    def options(self, folder: Path, row: Path, entry: Entry, seed: int) -> TrainOptions:
        """How a row is trained; its run folder is `row`/run."""

    def evaluation(self, folder: Path, seed: int) -> SampledEvaluation:
        """How every row is judged: all weights of the report's grid."""

    def yardstick(self, base: Sequence[Cell]) -> Yardstick | None:
        """The exact optimum where it is known."""


@dataclass(frozen=True, kw_only=True)
class LabGround:
    """The lab: `pool` train prompts with four rated replies each; replies to the prompts of `split`."""

    pool: int = 1500
    split: Literal["validation", "test"] = "test"
    one_hot_each: int = 8
    other_each: int = 4
    model: ClassVar[str] = "lab"
    device: ClassVar[str] = "cpu"

    @property
    def about(self) -> str:
        """One sentence for the page."""
        return (
            f"The lab: {self.pool} train prompts with four rated replies of the base each; {self.split} prompts, T = 1, "
            f"{self.one_hot_each} replies to each under a one-hot and {self.other_each} under another weight; exact scores."
        )

    def make_pool(self, folder: Path, seed: int) -> None:
        """Sampled replies of the base, some corrupted; not rated yet."""
        from pluralign import lab
        from pluralign.data import jsonl
        from pluralign.recipes.lab_job import make_pool

        jsonl.write(folder / POOL, make_pool(seed, self.pool), lab.objectives)

    def options(self, folder: Path, row: Path, entry: Entry, seed: int) -> TrainOptions:
        """The pool as this row's raters judged it."""
        from pluralign import lab
        from pluralign.data import jsonl
        from pluralign.recipes.lab_job import rate

        rated = row / "rated.jsonl"
        if not rated.exists():
            records = rate(list(jsonl.read(folder / POOL)), entry.raters, seed, entry.share)
            jsonl.write(rated, records, lab.objectives, licence="Apache-2.0", source="lab")
        return TrainOptions(data=rated, model="lab", scorer="lab", out=row / "run", seed=seed)

    def evaluation(self, folder: Path, seed: int) -> SampledEvaluation:
        """The report card's."""
        from pluralign.evaluation.lab_run import LabEvaluation

        return LabEvaluation(
            split=self.split,
            one_hot_each=self.one_hot_each,
            other_each=self.other_each,
            seed=seed + 1,
            sweeps=False,
        ).sampled()

    def yardstick(self, base: Sequence[Cell]) -> Yardstick | None:
        """The optimum on the base's own replies."""
        from pluralign.lab.optimum import sample_reference

        return sample_reference(np.concatenate([cell.scores for cell in base]))


@dataclass(frozen=True, kw_only=True)
class FileGround:
    """People's data: rows learn from nine tenths of its prompts and answer the rest, `prompts` of them at most.

    Rows of the file about one prompt become one record, since methods compare replies of a prompt. `scorer` judges every
    reply, of online methods and of the comparison alike; `model` is the base. `about_what`: the objectives that data and
    scorer share; or all of the scorer's, whatever people said of the data, which is prompts and perhaps demonstrations.
    `weights`: what replies are drawn under, the report's grid or single objectives.
    """

    data: str
    model: str
    scorer: str
    reader: str = "auto"
    prompts: int = 64
    one_hot_each: int = 2
    other_each: int = 1
    max_new_tokens: int = 128
    temperature: float = 1.0
    max_length: int | None = None
    device: str = "cpu"
    about_what: Literal["shared", "scorer"] = "shared"
    weights: Literal["grid", "one-hots"] = "grid"

    def __post_init__(self) -> None:
        if not self.scorer:
            raise ConfigError(
                "replies to people's prompts need a judge; give --scorer (a reward model's folder, module:Class, ...)"
            )
        if min(self.prompts, self.one_hot_each, self.other_each) < 1:
            raise ConfigError("the numbers of prompts and replies must be at least 1")

    @property
    def about(self) -> str:
        """One sentence for the page."""
        return (
            f"Data {Path(self.data).name}, base {Path(self.model).name}, judge {plain_name(self.scorer)}; at most {self.prompts} "
            f"held-out prompts, T = {self.temperature:g}, {self.one_hot_each} replies to each under a one-hot and {self.other_each} under "
            "another weight."
        )

    def make_pool(self, folder: Path, seed: int) -> None:
        """Nine tenths of the prompts to learn from; the rest to answer."""
        from pluralign.data import jsonl
        from pluralign.data.split import split
        from pluralign.sampling.pool import without_replies

        records, objectives = self._records()
        parts: dict[str, list[Any]] = {"train": [], "held out": []}
        for part, record in split(records, {"train": 0.9, "held out": 0.1}):  # the same for every seed
            parts[part].append(record)
        if not all(parts.values()):
            raise DataError("too few prompts to hold a tenth of them out; give more data", path=self.data)
        jsonl.write(folder / JUDGED, parts["held out"], objectives)
        jsonl.write(folder / HELD_OUT, without_replies(parts["held out"])[: self.prompts], objectives)
        jsonl.write(folder / POOL, parts["train"], objectives)

    def _records(self) -> tuple[list[Record], tuple[Objective, ...]]:
        """One record per prompt, and what they are about."""
        from pluralign.data.join import join
        from pluralign.recipes.scorer import open_scorer

        found = load_data(self.data, self.reader)
        records = list(join(found.records))
        if self.about_what == "shared":
            return records, found.objectives
        return [_unjudged(record) for record in records], tuple(open_scorer(self.scorer, self.device).objectives)

    def options(self, folder: Path, row: Path, entry: Entry, seed: int) -> TrainOptions:
        """All of the training part, rated by wins where the row asks for it."""
        wanted = names(self._objectives(load_data(folder / HELD_OUT)))
        return TrainOptions(
            data=_rated_by_wins(folder / POOL, row / "rated.jsonl") if entry.by_wins else folder / POOL,
            model=entry.model or self.model,
            scorer=self.scorer,
            out=row / "run",
            seed=seed,
            objectives=wanted,
            max_length=self.max_length,
            device=self.device,
        )

    def evaluation(self, folder: Path, seed: int) -> SampledEvaluation:
        """The held-out prompts under the report's grid, judged by the scorer."""
        from pluralign.data.simplex import report_grid
        from pluralign.evaluation.sampled import SampledEvaluation
        from pluralign.recipes.scorer import open_scorer
        from pluralign.sampling.local import Decoding

        found = load_data(folder / HELD_OUT)
        objectives = self._objectives(found)
        return SampledEvaluation(
            records=found.records,
            objectives=objectives,
            scorer=open_scorer(self.scorer, self.device),
            grid=report_grid(len(objectives)) if self.weights == "grid" else np.eye(len(objectives)),
            one_hot_each=self.one_hot_each,
            other_each=self.other_each,
            seed=seed + 1,
            decoding=Decoding(self.temperature, max_new_tokens=self.max_new_tokens),
        )

    def _objectives(self, found: Data) -> tuple[Objective, ...]:
        """Those of the data that the scorer scores. Raises ConfigError without any."""
        from pluralign.recipes.scorer import open_scorer

        scored = names(open_scorer(self.scorer, self.device).objectives)
        if not scored:
            raise ConfigError(
                f"the scorer {plain_name(self.scorer)} gives no scores to compare by; let a judge rate, or give each of "
                "its words the scores that it stands for"
            )
        chosen = tuple(objective for objective in found.objectives if objective.name in scored)
        if not chosen:
            raise ConfigError(
                f"the scorer scores {', '.join(scored)}, and the data is about "
                f"{', '.join(names(found.objectives))}: nothing in common to compare"
            )
        return chosen

    def yardstick(self, base: Sequence[Cell]) -> Yardstick | None:
        """None: nobody knows the optimum."""
        return None


def _unjudged(record: Record) -> Record:
    """The prompt and its replies, without what people said of them."""
    replies = tuple(Response(reply.text, finished=reply.finished) for reply in record.responses)
    return replace(record, responses=replies, comparisons=(), rankings=())


def _rated_by_wins(pool: Path, rated: Path) -> Path:
    """`rated`, made from the file `pool` if it is not there yet."""
    from pluralign.data import jsonl

    if not rated.exists():
        objectives = jsonl.read_header(pool).objectives
        jsonl.write(rated, [by_wins(record, objectives) for record in jsonl.read(pool)], objectives)
    return rated


def prepare(ground: Ground, folder: Path, seed: int) -> None:
    """Make the pool and the base's replies of a seed, each once."""
    from pluralign.policy import Policy
    from pluralign.sampling.engine import context
    from pluralign.steering.none import NoSteering

    if not (folder / POOL).exists():
        ground.make_pool(folder, seed)
    if not (folder / BASE).exists():
        how = ground.evaluation(folder, seed)
        base = Policy.from_base(
            base_model(ground.model), NoSteering(shared_where=None), how.objectives, device=ground.device
        )
        base.encoder.max_length = getattr(ground, "max_length", None) or context(base)
        kept_cells.write(folder / BASE, how.base_cells(base))
