"""Where a training computes: accelerate's device, precision, gradients and processes behind one small object."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pluralign.data.group import Group
from pluralign.errors import ConfigError
from pluralign.losses.outputs import Loss, Metrics
from pluralign.training.batching import Batch, share

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable


class Compute:
    """An accelerate Accelerator for `device` ("cpu", "cuda", "cuda:1") with float32 or autocast bfloat16 products.

    Under a launcher (torchrun, accelerate launch) gradients are averaged over the processes.
    Raises ConfigError for a device that is not there.
    """

    def __init__(self, device: str = "cpu", precision: str = "fp32") -> None:
        wanted = _existing(device)
        self.precision = precision
        self._accelerator = _accelerator(wanted)
        self.device: torch.device = self._accelerator.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return bool(self._accelerator.is_main_process)

    @property
    def num_processes(self) -> int:
        """Processes that share the work."""
        return int(self._accelerator.num_processes)

    def wait(self) -> None:
        """A barrier."""
        self._accelerator.wait_for_everyone()

    def share(self, groups: Sequence[Group]) -> list[Group]:
        """This process's part of a step, groups of a prompt together."""
        return share(groups, self._accelerator.process_index, self.num_processes)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        return self._accelerator.reduce(values, reduction="sum") if self.num_processes > 1 else values

    def total(self, count: int) -> int:
        """A count added up over all processes."""
        return count if self.num_processes == 1 else int(self.sum(torch.tensor(count, device=self.device)).item())

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Matrix products in bfloat16, where asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def prepare(self, policy: Trainable) -> torch.nn.Module:
        """A module from (batch, loss, scale) to `Trainable.losses`, its model on the device (and its gradients averaged over processes)."""
        module: torch.nn.Module = self._accelerator.prepare_model(_Forward(policy, self))
        wrapped = isinstance(module, torch.nn.parallel.DistributedDataParallel)
        assert wrapped == (self.num_processes > 1), "accelerate did not wrap the model for its processes"
        return module

    def backward(self, module: torch.nn.Module, loss: Tensor, last: bool) -> None:
        """Add gradients; they are exchanged between processes after the last micro-batch of a step."""
        with contextlib.nullcontext() if last else self._accelerator.no_sync(module):
            self._accelerator.backward(loss)

    def clip(self, parameters: Sequence[Tensor], max_norm: float | None) -> Tensor:
        """Scale the gradients down to a norm of at most `max_norm`; the norm before."""
        norm: Tensor = self._accelerator.clip_grad_norm_(parameters, float("inf") if max_norm is None else max_norm)
        return norm


class _Forward(torch.nn.Module):
    def __init__(self, policy: Trainable, compute: Compute) -> None:
        super().__init__()
        self.model, self._policy, self._compute = policy.model, policy, compute

    def forward(self, batch: Batch, loss: Loss, scale: float) -> tuple[Tensor, Tensor, Metrics]:
        with self._compute.autocast():
            return self._policy.losses(batch, loss, scale)


def _existing(device: str) -> torch.device:
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {device!r}; write cpu, cuda or cuda:N") from error
    if wanted.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {device!r} is not supported; write cpu, cuda or cuda:N")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {device!r} is not there: {torch.cuda.device_count()} CUDA devices found; use cpu")
    return wanted


def _accelerator(device: torch.device) -> Any:
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, PartialState

    known = PartialState._shared_state.get("device")
    if known is not None and known.type != device.type:
        AcceleratorState._reset_state(True)  # accelerate keeps the first device of a process for ever
    if device.index is not None:
        torch.cuda.set_device(device)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a head that no weight of a batch asks for
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[unused])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every global generator inside, and put each back as it was outside."""
    before = rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore_rng(before)


def rng_state() -> dict[str, Tensor]:
    """The global generators (Python, numpy, torch, every CUDA device) as tensors."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=True)
    _, keys, place, has_gauss, cached = numpy_state
    states = {
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([torch.nan if gauss is None else gauss], dtype=torch.float64),
        "numpy": torch.tensor([*keys.tolist(), place, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_rng(states: dict[str, Tensor]) -> None:
    """The inverse of `rng_state`."""
    version, *words = states["python"].tolist()
    gauss = states["python_gauss"].item()
    random.setstate((version, tuple(words), None if gauss != gauss else gauss))
    *keys, place, has_gauss = states["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), place, has_gauss, states["numpy_gauss"].item()))
    torch.set_rng_state(states["torch"])
    for name, state in states.items():
        if name.startswith("cuda") and int(name[4:]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(name[4:]))
