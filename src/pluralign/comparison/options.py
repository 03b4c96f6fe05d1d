"""What a comparison is asked for: the options of `pluralign compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pluralign.errors import ConfigError

Table = Literal[
    "methods",
    "mechanism_loss",
    "thesis_scalar",
    "thesis_preference",
    "alt_toxicity",
    "alt_tldr",
    "alt_hh",
    "clp_summaries",
]


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Put methods side by side: the same data, base model, budget and judge for all; a row each, and one picture.

    On the lab, or on your data with --data, --model and --scorer. What is done stays in --work: the same command again
    goes on where it was stopped, and does only what is missing. A row that fails says why, and the others go on.
    """

    table: Table = "methods"
    """methods; mechanism_loss (CMPO's layers by losses, in the lab); or a paper's own comparison on your data"""
    methods: str = "all"
    """of the table methods: ids separated by commas, with a recipe where wanted (cmpo,soups,cmpo/thesis), or all"""
    budget: float | None = None
    """CPU seconds of training that a row may take, all models it needs counted; dearer rows are marked, at twice the budget stopped"""
    seeds: int = 2
    """how many seeds: each has a pool of replies of its own, and a training of every row"""
    jobs: int = 1
    """rows at a time, each in a process of its own with one thread"""
    baseline: str = ""
    """the row that others are compared with in pairs; none takes cmpo where it is a row"""
    again: tuple[str, ...] = ()
    """rows to do anew although they are done"""
    work: Path = Path("runs/compare")
    """where pools, runs and rows are kept"""
    out: Path | None = None
    """the page (Markdown), its picture beside it; none writes WORK/TABLE.md"""
    data: Path | None = None
    """records to learn from; none is the lab"""
    reader: str = "auto"
    """format of the data"""
    model: str = "lab"
    """base model: a Hugging Face folder or hub id"""
    scorer: str | None = None
    """who judges replies: a reward model's folder, module:Class ...; the lab has its own"""
    out_of_domain: Path | None = None
    """prompts of another kind to answer as well (alt_hh, alt_tldr, alt_toxicity)"""
    device: str = "cpu"
    """of your model: cpu, cuda or cuda:N"""
    prompts: int = 64
    """held-out prompts of your data to answer, at most"""
    replies: tuple[int, int] | None = None
    """to each prompt under one objective alone, and under any other weights; none: 8 and 4 in the lab, 2 and 1 on your data"""
    max_new_tokens: int = 128
    """longest reply to your prompts"""
    pool: int = 1500
    """prompts of the lab's pool"""
    split: Literal["validation", "test"] = "test"
    """prompts of the lab to answer (tune on validation, report on test)"""
    max_steps: int | None = None
    """at most so many optimiser steps in every training: to try a command out, not to compare"""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"at least one seed, got {self.seeds}")
        if self.data is None and (self.scorer, self.model) != (None, "lab"):
            raise ConfigError("--model and --scorer go with --data; the lab has its own")
        if self.data is not None and (self.pool, self.split) != (1500, "test"):
            raise ConfigError("--pool and --split are the lab's; leave them out with --data")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"max_steps must be at least 1, got {self.max_steps}")
        if self.out_of_domain is not None and not self.table.startswith("alt_"):
            raise ConfigError(f"--out-of-domain is for alt_hh, alt_tldr and alt_toxicity, not for {self.table}")
        if self.methods != "all" and self.table != "methods":
            raise ConfigError(f"the rows of {self.table} are its paper's; leave --methods out")

    @property
    def page(self) -> Path:
        """Where the page goes."""
        return self.out or self.work / f"{self.table}.md"

    def needs_data(self) -> tuple[Path, str]:
        """(data, scorer) of a table that people's data is for. Raises ConfigError without them."""
        if self.data is None or self.scorer is None:
            raise ConfigError(f"{self.table} compares on given data: give --data, --model and --scorer")
        return self.data, self.scorer
