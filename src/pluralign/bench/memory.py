"""Peak memory of training steps, each row in a fresh process, so that none sees another's leavings."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pluralign.training.stepper import Stepper

_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: by how much steps raise a process's peak (`growth`), and how many of them the `gradients` and the
    `optimizer` hold at a step's end."""

    growth: int
    gradients: int
    optimizer: int

    @property
    def transient(self) -> int:
        """What comes and goes within a step: activations, logits, folded heads."""
        return self.growth - self.gradients - self.optimizer

    def to_json(self) -> dict[str, int]:
        """Plain values."""
        return {**asdict(self), "transient": self.transient}


def resident() -> int:
    """Bytes of this process in memory now."""
    if (_PROC / "statm").exists():
        return int((_PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024


def peak() -> int:
    """The most bytes that this process had in memory, ever or since `forget_peak`."""
    if (_PROC / "status").exists():
        lines = (_PROC / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def forget_peak() -> None:
    """Let the peak start anew from what is there now (Linux; elsewhere it stays the largest ever)."""
    if (_PROC / "clear_refs").exists():
        (_PROC / "clear_refs").write_text("5")  # man 5 proc


def growth(step: Callable[[], object], steps: int = 3) -> int:
    """Bytes by which the peak of `steps` steps exceeds what was there before the first (optimiser state included)."""
    gc.collect()
    forget_peak()
    before = resident()
    for _ in range(steps):
        step()
    return peak() - before


def held(stepper: Stepper) -> tuple[int, int]:
    """Bytes of (the gradients that the last step left, the optimiser's state)."""
    gradients = [parameter.grad for parameter in stepper.parameters if parameter.grad is not None]
    states = [tensor for state in stepper.optimizer.state.values() for tensor in state.values()]
    return sum(g.nbytes for g in gradients), sum(tensor.nbytes for tensor in states)


def in_fresh_process(arguments: list[str]) -> Memory:
    """Run `python -m pluralign.bench.memory_row` and read what it prints."""
    command = [sys.executable, "-m", "pluralign.bench.memory_row", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Memory(*json.loads(done.stdout.splitlines()[-1]))
