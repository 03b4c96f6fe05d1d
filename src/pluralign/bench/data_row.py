"""One conversion in a process of its own: `python -m pluralign.bench.data_row FILE OUT` prints CPU seconds and peak bytes."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any


def main(source: str, out: str) -> dict[str, Any]:
    """Convert a file to trade-off pairs; what it took, start of the process included."""
    from pluralign.bench.memory import peak
    from pluralign.data_api import convert

    done = convert(source, out, "trade-off")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": used.ru_utime + used.ru_stime, "peak": peak(), "pairs": done["rows"], "told": done["told"]}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
