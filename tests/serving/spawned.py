"""`pluralign serve` as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

import tiny
from pluralign.encoding import Encoder
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering

# Nothing may be written to any file: that is what a full disk does, and what a server must not mind.
# torch is imported before: one of its imports looks for a folder for temporary files.
NO_FILES = (
    "import resource, sys, torch; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); from pluralign.cli import main; "
)
START = 90.0


def policy_that_goes_on(folder: Path) -> Path:
    """A tiny policy on the disk whose greedy replies never end by themselves."""
    model = tiny.model(tiny.config(max_position_embeddings=100_000))
    with torch.no_grad():
        model.get_output_embeddings().weight[1] = 0.0  # the end token: somebody's logit is always above 0
    policy = Policy(model, Encoder(tiny.tokenizer()), PluralSteering(), tiny.OBJECTIVES)
    return policy.save(folder)


class Spawned:
    """A running process. `address` once it answers; `said`: the lines of its log so far."""

    def __init__(self, arguments: Sequence[object], no_files: bool = False) -> None:
        call = ["-c", NO_FILES + "sys.exit(main(sys.argv[1:]))"] if no_files else ["-m", "pluralign"]
        command = [sys.executable, *call, "serve", "--threads", "1", *map(str, arguments)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        found = re.search(r"http://[\w.:]+", self.ready_line)
        self.address = found[0] if found else ""

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 20.0) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(seconds)

    def events(self) -> list[dict[str, object]]:
        """The lines of the log that are JSON."""
        return [json.loads(line) for line in self.said if line.startswith("{")]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        self._reader.join(20)
        assert self.process.stdout is not None and self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()


@contextmanager
def spawned(*arguments: object, no_files: bool = False) -> Iterator[Spawned]:
    """Serve until the block ends."""
    running = Spawned(arguments, no_files)
    try:
        yield running
    finally:
        running.stop()
