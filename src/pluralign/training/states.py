"""Hidden states of a frozen trunk: computed once per response, read in every step.

With plural heads on a frozen trunk (the default CMPO) the states never change, so a step is the heads alone. They are
kept in memory while they are few, beyond that in a file of the run's cache, which is mapped, not loaded. The file's key
is the content of all that the states depend on; it is verified when a resumed run finds it, and removed when the stage
is done. States are always computed in the same batches, whether a run is fresh or resumed, so that resuming stays
exact.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import DataError, StorageError
from pluralign.storage import atomic_file, fingerprint, read_json, write_json
from pluralign.training.batching import Collator
from pluralign.training.device import Compute
from pluralign.training.progress import Progress
from pluralign.training.rows import Rows

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable

FORMAT_VERSION = 1
PROBES = 4  # rows computed again when a file is read
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}  # of the largest state: other batches move the last bits

log = logging.getLogger("pluralign")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of states that are held in `memory` at most, and beyond that in a file on `disk` at most; larger data runs
    its trunk in every step."""

    memory: int = 1 << 29
    disk: int = 1 << 35


ROOM = Room()


class TrunkStates:
    """States [N, d] of all responses' predicting positions, by row number; `file`: where they are, if on disk."""

    def __init__(
        self, numbers: Sequence[int], lengths: Sequence[int], values: Tensor, file: Path | None = None
    ) -> None:
        self.values, self.file = values, file
        self._start = {
            number: int(end - size) for number, size, end in zip(numbers, lengths, np.cumsum(lengths), strict=True)
        }
        self._length = dict(zip(numbers, lengths, strict=True))

    def gather(self, rows: Tensor) -> Tensor:
        """The states of rows (numbers [R]) one after the other: [N, d], on the device of `rows`."""
        spans = [(self._start[number], self._length[number]) for number in rows.tolist()]
        places = np.concatenate([np.arange(start, start + size) for start, size in spans])
        return self.values[torch.from_numpy(places).to(self.values.device)].to(rows.device)

    def remove(self) -> None:
        """Delete the file, if there is one."""
        if self.file is not None:
            _about(self.file).unlink(missing_ok=True)
            self.file.unlink(missing_ok=True)


@torch.no_grad()
def trunk_states(
    policy: Trainable, rows: Rows, numbers: Sequence[int], compute: Compute, folder: Path, room: Room = ROOM
) -> TrunkStates | None:
    """The states of rows, in memory or in a file of `folder`; None where the trunk is trained or steered, and where
    there is no room for them."""
    if not numbers or not policy.frozen_trunk:
        return None
    reading = _Reading(policy, rows, numbers, compute)
    if reading.num_bytes <= room.memory:
        return TrunkStates(numbers, reading.lengths, reading.into_memory())
    size = f"the trunk's hidden states take {reading.num_bytes >> 20} MiB"
    if reading.num_bytes > room.disk:
        log.info("%s; not kept, every step runs the trunk", size)
        return None
    file = folder / f"states-{reading.key[:16]}.bin"
    if compute.is_main and not _sound(file, reading):
        log.info("%s; kept in %s while this stage runs", size, file)
        _write(file, reading)
    compute.wait()
    return reading.mapped(file) if _about(file).exists() else None


class _Reading:
    """How the states of rows are computed: always in the same batches."""

    def __init__(self, policy: Trainable, rows: Rows, numbers: Sequence[int], compute: Compute) -> None:
        self.policy, self.rows, self.numbers, self.compute = policy, rows, numbers, compute
        self.collator = Collator(policy, rows)
        self.lengths = [rows.length(number) - rows.prompts[number] for number in numbers]
        self.starts = np.cumsum([0, *self.lengths])

    @cached_property
    def sample(self) -> Tensor:
        """The first row's states: their width and type are known only then."""
        return self.of(self.numbers[:1])

    @property
    def num_bytes(self) -> int:
        return sum(self.lengths) * self.sample.shape[1] * self.sample.element_size()

    @cached_property
    def key(self) -> str:
        setting = [str(self.compute.device.type), self.compute.precision, str(self.sample.dtype), FORMAT_VERSION]
        return fingerprint(self.policy.fingerprint(), self.rows.content(self.numbers), setting)

    def of(self, numbers: Sequence[int]) -> Tensor:
        batch = self.collator.plain(numbers).to(self.compute.device)
        with self.compute.autocast():
            return self.policy.trunk_states(batch)

    def batches(self) -> Iterator[tuple[list[int], Tensor]]:
        """(places among the numbers, their states one after the other)."""
        with Progress("hidden states of the frozen trunk", len(self.numbers)) as bar:
            for places in self.rows.batches(self.numbers):
                yield places, self.of([self.numbers[place] for place in places])
                bar.advance(len(places))

    def into_memory(self) -> Tensor:
        values = self.sample.new_empty(sum(self.lengths), self.sample.shape[1])
        for places, found in self.batches():
            into = np.concatenate([np.arange(self.starts[place], self.starts[place + 1]) for place in places])
            values[torch.from_numpy(into).to(values.device)] = found
        return values

    def into_file(self, file: Path) -> None:
        row_bytes = self.num_bytes // sum(self.lengths)
        with file.open("r+b") as opened:
            opened.truncate(self.num_bytes)
            for places, found in self.batches():
                for place, part in zip(
                    places, found.cpu().split([self.lengths[place] for place in places]), strict=True
                ):
                    opened.seek(int(self.starts[place]) * row_bytes)
                    opened.write(part.contiguous().view(torch.uint8).numpy().tobytes())

    def mapped(self, file: Path) -> TrunkStates:
        shape = (sum(self.lengths), self.sample.shape[1])
        values = torch.from_file(str(file), shared=False, size=shape[0] * shape[1], dtype=self.sample.dtype)
        return TrunkStates(self.numbers, self.lengths, values.view(shape), file)


def _about(file: Path) -> Path:
    return file.with_suffix(".json")


def _write(file: Path, reading: _Reading) -> None:
    """The file, then what it is; nothing where there is no room."""
    _about(file).unlink(missing_ok=True)
    try:
        with atomic_file(file) as temporary:
            free = shutil.disk_usage(temporary.parent).free
            if free < reading.num_bytes:
                raise StorageError(f"{free >> 20} MiB are free")
            reading.into_file(temporary)
        about = {"format_version": FORMAT_VERSION, "key": reading.key, "content": fingerprint(file)}
        write_json(_about(file), about)
    except StorageError as error:
        log.warning("the trunk's hidden states are not kept, every step runs the trunk: %s", error)


def _sound(file: Path, reading: _Reading) -> bool:
    """Whether the file holds what this model gives; checked by content, and by rows spread over it."""
    if not (file.exists() and _about(file).exists()):
        return False
    try:
        about = read_json(_about(file))
        whole = about["key"] == reading.key and about["content"] == fingerprint(file)
    except (DataError, KeyError, TypeError, OSError):
        whole = False
    if whole and file.stat().st_size == reading.num_bytes and _agrees(reading, reading.mapped(file)):
        return True
    log.warning("%s is damaged or of another model; computing the hidden states again", file)
    return False


def _agrees(reading: _Reading, kept: TrunkStates) -> bool:
    numbers = reading.numbers[:: max(1, len(reading.numbers) // PROBES)][:PROBES]
    fresh = reading.of(numbers)
    found = kept.gather(torch.tensor(numbers, device=fresh.device))
    tolerance = _TOLERANCE[reading.compute.precision] * float(fresh.abs().max())
    return torch.allclose(found.float(), fresh.float(), rtol=0, atol=tolerance)
