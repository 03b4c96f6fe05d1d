"""Real processes that start at once: forked from one that has imported everything, and has done nothing else.

Importing the libraries takes ten times as long as the commands that the tests kill, stop and starve.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "transformers.models.auto.modeling_auto",
        "transformers.models.llama.modeling_llama",
        "transformers.models.auto.tokenization_auto",
        "pluralign.api",
        "pluralign.commands",
        "pluralign.export.adapter",
        "pluralign.methods.cmpo",
    ]
)


class Command:
    """`pluralign ARGUMENTS` in a process of its own; `file_size` bounds the files that it may write, `typed` is its
    standard input."""

    def __init__(self, folder: Path, *arguments: object, file_size: int | None = None, typed: str = "") -> None:
        self._said = folder / f"said{len(list(folder.glob('said*')))}"
        self._said.mkdir(parents=True)
        (self._said / "in").write_text(typed)
        given = [str(argument) for argument in arguments]
        self.process: ForkServerProcess = FORKS.Process(target=_run, args=(given, self._said, file_size))
        self.process.start()

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def send(self, number: int) -> None:
        """A signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> tuple[int | None, str, str]:
        """(exit code, standard output, standard error)."""
        self.process.join(120)
        code = self.process.exitcode
        self.process.close()
        return code, (self._said / "out").read_text(), (self._said / "err").read_text()


def _run(arguments: list[str], said: Path, file_size: int | None) -> None:
    import torch

    from pluralign.cli import main

    torch.set_num_threads(1)
    os.dup2(os.open(said / "in", os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  (the forkserver's own was closed)
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream.fileno())
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.exit(main(arguments))
