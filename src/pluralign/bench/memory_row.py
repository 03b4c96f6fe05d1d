"""One row's memory, in a process of its own: `python -m pluralign.bench.memory_row ROW SHARE THREADS` prints bytes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROWS = {"full": "CMPO, full heads, 7 λ", "low": "CMPO, rank 16, 7 λ", "dpo": "DPO"}


def main(row: str, share: float, threads: int) -> int:
    """Bytes by which the steps of a row grow the peak of this process (S, 4 pairs)."""
    import torch

    from pluralign.bench.memory import growth
    from pluralign.bench.models import S
    from pluralign.bench.tasks import SHORT, scaled
    from pluralign.bench.workbench import FULL, LOW, Workbench

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(S, scaled(SHORT, share), 4, Path(folder))
        made = {
            "full": lambda: bench.cmpo("cmpo_full", "", FULL),
            "low": lambda: bench.cmpo("cmpo_low", "", LOW),
            "dpo": bench.dpo,
        }[row]()
        return growth(made.step)


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
