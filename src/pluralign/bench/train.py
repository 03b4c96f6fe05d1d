"""`pluralign bench train`: our training step against TRL's on the same work, after a proof that both compute the same.

1. The equality gate (equality.py), once per model; without it no speed is printed.
2. The parts (parts.py): rows timed in turn in one process, CPU time or CUDA events (timing.py).

On the CPU besides: peak memory (memory.py), and the head's formulations against the rule that chooses (formulations.py).

A TRL user trains CMPO with one step per pair and weight vector: that many measured plain steps are its time.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pluralign.bench import memory
from pluralign.bench.equality import equalities
from pluralign.bench.flops import peak
from pluralign.bench.formulations import CHOOSER, choices
from pluralign.bench.machine import about
from pluralign.bench.models import S, Shape
from pluralign.bench.parts import PARTS, Part, RatioOf
from pluralign.bench.results import Results
from pluralign.bench.tasks import scaled
from pluralign.bench.timing import Clock, interleaved
from pluralign.bench.workbench import Workbench
from pluralign.errors import ConfigError, MissingExtraError

ON_CPU = ("short", "m", "vocabulary", "formulations", "memory")
EXTRA = ("formulations", "memory")
MEMORY_TARGET = 0.65e9  # bytes, full heads
MEMORY_ROWS = ("full", "low", "dpo")

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured and how; explained with the command's options, but for what tests use:

    `share` shortens all texts, `shape` replaces every part's model, `pairs` the number of pairs of a step.
    """

    parts: tuple[str, ...] = ON_CPU
    repeats: int = 5
    threads: int = 1
    device: str = "cpu"
    share: float = 1.0
    pairs: int | None = None
    shape: Shape | None = None

    def __post_init__(self) -> None:
        known = (*PARTS, *EXTRA)
        wrong = [name for name in self.parts if name not in known]
        if wrong or not self.parts:
            raise ConfigError(f"parts are some of {', '.join(known)}; got {', '.join(wrong) or 'none'}")
        if ("cuda" in self.parts) != (self.device != "cpu") or (self.device != "cpu" and len(self.parts) > 1):
            raise ConfigError("on a CUDA device there is one part, 'cuda'; the others are for the CPU")
        if self.repeats < 1 or self.threads < 1 or not 0 < self.share <= 1 or (self.pairs or 1) < 1:
            raise ConfigError("repeats, threads and pairs are at least 1, and share is in (0, 1]")


def bench_train(settings: Settings) -> dict[str, Any]:
    """Measure; the value that `results.Results.to_json` describes.

    Raises EqualityError where a step computes something else than naive autograd or TRL, MissingExtraError without TRL.
    """
    import torch

    _check_extra()
    began, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            results = _measure(settings, Path(folder))
    finally:
        torch.set_num_threads(threads)
    results.settings["wall_seconds"] = round(time.monotonic() - began, 1)
    return results.to_json()


def _measure(settings: Settings, folder: Path) -> Results:
    timed = [PARTS[name] for name in settings.parts if name in PARTS]
    first = settings.shape or (timed[0].shape if timed else S)
    dtype = "float32" if settings.device == "cpu" else "bfloat16"
    tune_gemm = settings.device == "cpu" and _onednn(first)
    machine = about(settings.device, peak(first, settings.device, dtype), tune_gemm)
    shown = {"parts": list(settings.parts), "repeats": settings.repeats, "threads": settings.threads}
    shown |= {"device": settings.device, "share": settings.share, "clock": "CPU time" if dtype == "float32" else "CUDA"}
    results = Results(machine, shown)
    if "memory" in settings.parts:
        _memory(settings, results)
    for part in timed:
        _part(part, settings, folder / part.name, tune_gemm, results)
    if "formulations" in settings.parts:
        _formulations(settings, results)
    return results


def _part(part: Part, settings: Settings, folder: Path, tune_gemm: bool, results: Results) -> None:
    lengths = scaled(part.lengths, settings.share)
    shape, num = settings.shape or part.shape, settings.pairs or part.num
    bench = Workbench(shape, lengths, num, folder, settings.device, tune_gemm)
    log.info("%s: comparing with naive autograd and TRL", part.about)
    found = list(equalities(bench, num if part.name == "short" else min(num, 2)))
    results.add_equality(part.name, found)
    worst = max(found, key=lambda each: max(each.loss, each.worst))
    log.info("%s: equal; the largest difference is %.2g", part.about, max(worst.loss, worst.worst))
    rows = part.rows(bench)
    clock = Clock("cpu" if settings.device == "cpu" else "cuda")
    results.add_part(part, bench, rows, interleaved(rows, settings.repeats, clock, part.about))
    log.info("%s: %s", part.about, results.told(part))


def _formulations(settings: Settings, results: Results) -> None:
    found = choices(settings.repeats, settings.share, settings.shape or S)
    shown = [each.to_json() for each in found]
    results.parts["formulations"] = {"about": "the head alone, by formulation", "rows": [], "choices": shown}
    over = [each.over_best for each in found]
    results.add_ratio("", CHOOSER, max(over), (min(over), max(over)))


def _memory(settings: Settings, results: Results) -> None:
    for row in MEMORY_ROWS:
        found = memory.in_fresh_process([row, str(settings.share), str(settings.threads)])
        results.memory[row] = found.to_json()
    for part, size in results.memory["full"].items():
        target = MEMORY_TARGET / 1e9 if part == "growth" else None
        asked = RatioOf(f"memory_{part}_gb", "", "", at_most=target)
        results.add_ratio("", asked, size / 1e9, (size / 1e9, size / 1e9))


def _onednn(shape: Shape) -> bool:
    from pluralign.bench.onednn import onednn_is_faster

    return onednn_is_faster(shape.width, shape.inner)


def _check_extra() -> None:
    try:
        import trl  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("bench compares with TRL; install it with: pip install 'pluralign[bench]'") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TRL's and datasets' bars and notices say nothing here."""
    import datasets

    from pluralign.base_model import quiet

    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if not bars:
            datasets.enable_progress_bars()


def quick(settings: Settings) -> Settings:
    """A look in a few minutes: the short part alone, texts a quarter as long."""
    return replace(settings, parts=("short",), share=0.25)


def parts_for(device: str, asked: Sequence[str]) -> tuple[str, ...]:
    """The parts that were asked for, or all of the device's."""
    return tuple(asked) or (ON_CPU if device == "cpu" else ("cuda",))
