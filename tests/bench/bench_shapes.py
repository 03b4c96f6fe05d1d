"""A benchmark's model and texts, small enough for tests."""

from __future__ import annotations

from pathlib import Path

from pluralign.bench.models import Shape
from pluralign.bench.tasks import Lengths
from pluralign.bench.workbench import Workbench

TINY = Shape("tiny", 120, 32, 48, 2, 4, 4)
LENGTHS = Lengths((6, 9), (3, 5))


def workbench(folder: Path, num: int = 2) -> Workbench:
    """Every kind of step on a tiny Llama."""
    return Workbench(TINY, LENGTHS, num, folder)
