"""Reference log-probabilities: computed once per distinct (prompt, response), kept in one file, verified when read.

The file's key is the content of everything the numbers depend on: token ids (data, template and tokenizer at once),
the model, the precision and the kind of device. A file with another key, or a damaged one, is computed again; so is
one whose values the model at hand does not give for a few probe rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pluralign.errors import RunError
from pluralign.storage import atomic_write, fingerprint
from pluralign.training.batching import Collator
from pluralign.training.device import Compute
from pluralign.training.progress import Progress
from pluralign.training.rows import Rows

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable

FORMAT_VERSION = 2  # 1: float32
PROBES = 4  # rows computed again when a file is read
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.3}  # nats, plus 1e-4 of the value: padding moves the last bits

log = logging.getLogger("pluralign")


class Reference:
    """log π_ref by row number, in nats, summed over the response (float64)."""

    def __init__(self, numbers: Sequence[int], values: Tensor) -> None:
        self._values: dict[int, float] = dict(zip(numbers, values.tolist(), strict=True))

    def __call__(self, number: int) -> float:
        """The value of a row; RunError for a row that the source did not announce."""
        try:
            return self._values[number]
        except KeyError:
            raise RunError(
                "a batch holds a response whose reference log-probability was not computed; "
                "the source's texts() must name every response that its batches hold"
            ) from None


class LiveReference:
    """log π_ref of the rows of a batch, which nobody knew beforehand.

    Computed anew for every batch, all of its rows together: rounding depends on what stands beside a row, and a run that
    goes on must see the numbers that it saw before.
    """

    def __init__(self, policy: Trainable, rows: Rows, compute: Compute) -> None:
        self.policy, self.rows, self.compute = policy, rows, compute
        self._values: dict[int, float] = {}

    def prepare(self, numbers: Sequence[int]) -> None:
        """Compute the rows of a batch."""
        rows = list(dict.fromkeys(numbers))
        values = _compute(self.policy, self.rows, rows, self.compute) if rows else torch.zeros(0)
        self._values = dict(zip(rows, values.tolist(), strict=True))

    def __call__(self, number: int) -> float:
        """The value of a row that was prepared."""
        return self._values[number]


def reference_logprobs(
    policy: Trainable, rows: Rows, numbers: Sequence[int], compute: Compute, folder: Path
) -> Reference:
    """The reference's log-probabilities of rows, read from `folder` or computed and written there.

    Call it before the policy has been trained. Raises RunError for a value that is not finite, StorageError.
    """
    key = _key(policy, rows, numbers, compute)
    path = folder / f"reference-{key[:16]}.safetensors"
    values = _read(path, key, len(numbers))
    if values is not None and not _agrees(policy, rows, numbers, values, compute):
        log.warning("%s is not from this model; computing it again", path)
        values = None
    if values is None:
        with Progress("reference log-probabilities", len(numbers)) as progress:
            values = _compute(policy, rows, numbers, compute, progress)
        about = {"format_version": str(FORMAT_VERSION), "key": key, "content": _checksum(values)}
        atomic_write(path, save({"logprobs": values}, about))
    return Reference(numbers, values)


def _key(policy: Trainable, rows: Rows, numbers: Sequence[int], compute: Compute) -> str:
    trained = {} if policy.steering.reference_inside else policy.trainable_state()
    tensors = [fingerprint(name, _bytes(tensor)) for name, tensor in sorted(trained.items())]
    setting = [str(compute.device.type), compute.precision, FORMAT_VERSION]
    return fingerprint(policy.fingerprint(), tensors, rows.content(numbers), setting)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _checksum(values: Tensor) -> str:
    return fingerprint(_bytes(values))


def _read(path: Path, key: str, size: int) -> Tensor | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about, values = file.metadata() or {}, file.get_tensor("logprobs").clone()
    except (SafetensorError, OSError) as error:
        log.warning("%s is damaged (%s); computing the reference log-probabilities again", path, error)
        return None
    whole = about.get("key") == key and about.get("content") == _checksum(values) and values.shape == (size,)
    if not whole:
        log.warning("%s holds something else than its name says; computing it again", path)
    return values if whole else None


def _agrees(policy: Trainable, rows: Rows, numbers: Sequence[int], values: Tensor, compute: Compute) -> bool:
    """Whether the model gives the kept values for rows spread over the file."""
    probes = range(0, len(numbers), max(1, len(numbers) // PROBES))[:PROBES]
    fresh = _compute(policy, rows, [numbers[place] for place in probes], compute)
    return torch.allclose(fresh, values[list(probes)], rtol=1e-4, atol=_TOLERANCE[compute.precision])


@torch.no_grad()
def _compute(
    policy: Trainable, rows: Rows, numbers: Sequence[int], compute: Compute, progress: Progress | None = None
) -> Tensor:
    values = torch.full((len(numbers),), torch.nan, dtype=torch.float64)
    collator = Collator(policy, rows)
    for places in rows.batches(numbers):
        batch = collator.plain([numbers[place] for place in places]).to(compute.device)
        with compute.autocast():
            values[places] = policy.reference_logprobs(batch).double().cpu()
        if progress:
            progress.advance(len(places))
    if not torch.isfinite(values).all():
        raise RunError(
            "the reference gives a response probability 0 or NaN; check that the model is sound "
            "(sample from it), and that its vocabulary covers the data"
        )
    return values
