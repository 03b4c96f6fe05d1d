"""The actions of the verb `bench`: their options, and what each prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from pluralign.commands import Outcome, rendered
from pluralign.errors import ConfigError


@dataclass(frozen=True)
class BenchData:
    """Rated replies to trade-off pairs at several sizes: CPU time, peak memory, and whether the cost is linear."""

    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """replies"""
    json_file: Annotated[Path | None, arg(name="json")] = None
    """write everything to this file (`--json` alone prints it)"""
    markdown: Path | None = None
    """write the table to this page"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Everything measured, and the page."""
        from pluralign.bench import data
        from pluralign.storage import write_json

        found, command = data.bench_data(self.sizes), "pluralign bench data"
        if self.json_file is not None:
            write_json(self.json_file, found)
        if self.markdown is not None:
            data.write(found, self.markdown, command)
        return found, data.page(found, command)


@dataclass(frozen=True)
class BenchTrain:
    """Our training step against TRL's: equality first, then speed, memory and ratios (docs/bench.md)."""

    parts: tuple[Literal["short", "m", "vocabulary", "long", "formulations", "memory", "cuda"], ...] = ()
    """which tables; none takes short, m, vocabulary, formulations and memory on the CPU, cuda on a CUDA device"""
    quick: bool = False
    """a look in a few minutes: the short table alone, texts a quarter as long"""
    repeats: int = 5
    """timed steps of every row"""
    threads: int = 1
    """CPU threads"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""
    json_file: Annotated[Path | None, arg(name="json")] = None
    """write everything to this file (`--json` alone prints it)"""
    markdown: Path | None = None
    """write the tables to this page"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Everything measured, and its tables."""
        from pluralign.bench import markdown
        from pluralign.bench.results import tables
        from pluralign.bench.train import Settings, bench_train, parts_for, quick
        from pluralign.storage import write_json

        if self.quick and self.parts:
            raise ConfigError("--quick chooses the part itself; leave out --parts")
        settings = Settings(
            parts=parts_for(self.device, self.parts), repeats=self.repeats, threads=self.threads, device=self.device
        )
        found = bench_train(quick(settings) if self.quick else settings)
        if self.json_file is not None:
            write_json(self.json_file, found)
        if self.markdown is not None:
            markdown.write(found, self.markdown, f"pluralign bench train{' --quick' if self.quick else ''}")
        return found, "\n".join(rendered(table) for table in tables(found))


@dataclass(frozen=True)
class BenchServe:
    """The server over HTTP, a different weight in every request: equality first, then speed and overload (docs/bench.md)."""

    models: tuple[Literal["lab", "llama60m"], ...] = ("lab", "llama60m")
    """which models are served; the first is the one that is overloaded"""
    repeats: int = 3
    """timed phases of every load, after one to warm up"""
    replies: int = 10_000
    """replies to check under overload (in three minutes at most)"""
    soak: bool = False
    """instead of everything else: ten minutes of mixed traffic, the server's memory watched"""
    soak_seconds: float = 600.0
    """seconds of --soak for each model"""
    threads: int | None = None
    """CPU threads of the server's decoder and of `generate`; none leaves PyTorch's choice"""
    json_file: Annotated[Path | None, arg(name="json")] = None
    """write everything to this file (`--json` alone prints it)"""
    out: Annotated[Path | None, arg(aliases=("--markdown",))] = None
    """write the tables to this page"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Everything measured, and its tables."""
        from pluralign.bench.serve import Settings, bench_serve
        from pluralign.bench.serve_results import tables, write
        from pluralign.storage import write_json

        settings = Settings(
            models=self.models,
            repeats=self.repeats,
            replies=self.replies,
            threads=self.threads,
            soak_seconds=self.soak_seconds if self.soak else None,
        )
        found = bench_serve(settings)
        if self.json_file is not None:
            write_json(self.json_file, found)
        if self.out is not None:
            write(found, self.out, f"pluralign bench serve{' --soak' if self.soak else ''}")
        return found, "\n".join(rendered(table) for table in tables(found))
