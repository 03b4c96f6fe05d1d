"""`pluralign bench data`: rated replies to trade-off pairs at several sizes; CPU time, peak memory, and whether it is linear."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pluralign.bench import data_made
from pluralign.bench.machine import processor
from pluralign.errors import ConfigError
from pluralign.storage import atomic_write

SIZES = (10_000, 100_000, 1_000_000)
ENDINGS = ("jsonl.gz", "parquet")
MOST_SECONDS, MOST_BYTES = 60, 1.5 * 2**30  # at a million replies

log = logging.getLogger("pluralign")


def bench_data(sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Make a gzip record file of each size (five ratings a reply), convert it in a fresh process, and measure.

    Raises ConfigError for a size below 8 replies or sizes that do not grow.
    """
    if not sizes or min(sizes) < 8 or list(sizes) != sorted(set(sizes)):
        raise ConfigError(f"sizes are growing numbers of replies, each at least 8; got {list(sizes)}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            source = Path(folder) / f"{size}.jsonl.gz"
            data_made.write_records(source, size)
            for ending in ENDINGS:
                rows.append({"replies": size, "to": ending} | _row(source, Path(folder) / f"out.{ending}"))
                log.info("%s replies to %s: %.1f s of CPU", size, ending, rows[-1]["cpu"])
    return {"processor": processor(), "rows": rows, "growth": {ending: _growth(rows, ending) for ending in ENDINGS}}


def _row(source: Path, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pluralign.bench.data_row", str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"cpu": found["cpu"], "peak": found["peak"], "pairs": found["pairs"]}


def _growth(rows: Sequence[dict[str, Any]], ending: str) -> float | None:
    """Cost of a further reply between the two largest sizes over that between the two smallest; 1 is linear.

    None with fewer than three sizes. Differences leave out what starting the process costs.
    """
    own = [row for row in rows if row["to"] == ending]
    if len(own) < 3:
        return None
    slopes = [(b["cpu"] - a["cpu"]) / (b["replies"] - a["replies"]) for a, b in ((own[0], own[1]), (own[-2], own[-1]))]
    return slopes[1] / slopes[0] if slopes[0] > 0 else None


def page(found: dict[str, Any], command: str) -> str:
    """The results as Markdown."""
    lines = [
        "# Conversion at scale\n",
        f"Written by `{command}`; do not edit. Replies with five ratings, four to a prompt, from a gzip record file to",
        "trade-off pairs (one drawn weight for each prompt), each row in a process of its own, start included.\n",
        f"{found['processor']}. Target at 1,000,000 replies: {MOST_SECONDS} s of CPU, {MOST_BYTES / 2**30:g} GiB.\n",
        "| replies | to | pairs | CPU, s | µs a reply | peak, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        each = row["cpu"] / row["replies"] * 1e6
        shown = (f"{row['replies']:,}", row["to"], f"{row['pairs']:,}", f"{row['cpu']:.1f}", f"{each:.0f}")
        lines.append("| " + " | ".join(shown) + f" | {row['peak'] / 2**20:.0f} |")
    grown = ", ".join(f"{ending} {value:.2f}" for ending, value in found["growth"].items() if value is not None)
    lines.append(
        f"\nCost of a further reply, the two largest sizes against the two smallest (1 is linear): {grown or 'needs three sizes'}."
    )
    return "\n".join(lines) + "\n"


def write(found: dict[str, Any], path: Path, command: str) -> None:
    """Write the page atomically."""
    atomic_write(path, page(found, command))
