"""One row's memory, in a process of its own: `python -m pluralign.bench.memory_row ROW SHARE THREADS` prints the numbers of
`memory.Memory`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROWS = {"full": "CMPO, full heads, 7 λ", "low": "CMPO, rank 16, 7 λ", "dpo": "DPO"}


def main(row: str, share: float, threads: int) -> tuple[int, int, int]:
    """Bytes by which the steps of a row grow the peak of this process (S, 4 pairs); of its gradients and optimiser."""
    import torch

    from pluralign.bench.memory import growth, held
    from pluralign.bench.models import S
    from pluralign.bench.tasks import SHORT, conditioned, plain, scaled
    from pluralign.bench.workbench import FULL, LOW, Workbench

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(S, scaled(SHORT, share), 4, Path(folder))
        what = {"full": FULL, "low": LOW, "dpo": None}[row]
        groups = plain(bench.pairs) if what is None else conditioned(bench.pairs, what.num_heads, what.wins)
        stepper = bench.stepper(bench.policy(what), groups, what)
        grown = growth(lambda: stepper.step(groups))
        return grown, *held(stepper)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
