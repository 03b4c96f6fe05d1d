"""Checkpoints: trained tensors, optimiser, generators and place, in one new folder each; the newest whole one counts.

    checkpoint-00000050/state.json            format_version, step, best, source, identity
    checkpoint-00000050/tensors.safetensors   trained.NAME, optimizer.GROUP.INDEX.KEY, rng.NAME

A folder appears under its name only when all of it is on the disk, and the older one goes only after that, so a
process killed at any moment leaves a whole checkpoint behind.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from pluralign.errors import RunError, StorageError
from pluralign.storage import atomic_file, atomic_folder, check_format_version, read_json, write_json

FORMAT_VERSION = 1
_NAME = re.compile(r"checkpoint-(\d{8})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training goes on from. `state` is JSON; tensors are detached and on the CPU."""

    step: int
    state: dict[str, Any]
    trained: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    rng: dict[str, Tensor]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into a stage's folder, then remove the older ones. Raises StorageError."""
    target = folder / f"checkpoint-{checkpoint.step:08d}"
    parts = {"trained": checkpoint.trained, "optimizer": checkpoint.optimizer, "rng": checkpoint.rng}
    tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    with atomic_folder(target, overwrite=True) as temporary:
        _write(temporary / "tensors.safetensors", tensors)
        about = {"format_version": FORMAT_VERSION, "step": checkpoint.step, **checkpoint.state}
        write_json(temporary / "state.json", about)
    _remove_others(folder, target)
    return target


def latest(folder: Path) -> Path | None:
    """The newest checkpoint of a stage's folder."""
    found = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)]
    return max(found, key=lambda path: path.name, default=None)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises RunError or DataError for a damaged one, FormatVersionError for a newer one."""
    state = read_json(path / "state.json")
    check_format_version(state.pop("format_version", None), FORMAT_VERSION, path / "state.json")
    tensors = load_tensors(path / "tensors.safetensors")
    parts: dict[str, dict[str, Tensor]] = {"trained": {}, "optimizer": {}, "rng": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return Checkpoint(step=state.pop("step"), state=state, **parts)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, on the CPU. Raises RunError where it is missing or damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove its folder to start this stage again") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to one file, whole or not at all (StorageError)."""
    with atomic_file(path) as temporary:
        _write(temporary, tensors)


def clean(folder: Path) -> None:
    """Remove every checkpoint and what killed processes left half-written."""
    _remove_others(folder, None)


def _remove_others(folder: Path, kept: Path | None) -> None:
    for path in folder.glob("checkpoint-*"):
        if path != kept:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".checkpoint-*"):
        shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        save_file({name: _plain(tensor) for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # its writer hides the disk's own error in a text
        raise StorageError(
            f"cannot write {path}: {error}; nothing was left half-written. Free space or choose another place"
        ) from error


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments and counts as "GROUP.INDEX.KEY"; nothing before its first step."""
    tensors = {}
    for group in optimizer.param_groups:
        for index, parameter in enumerate(group["params"]):
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{group['name']}.{index}.{key}"] = torch.as_tensor(value)
    return tensors


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`, onto each parameter's device (counts stay where AdamW keeps them)."""
    for group in optimizer.param_groups:
        for index, parameter in enumerate(group["params"]):
            prefix = f"{group['name']}.{index}."
            own = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
            if own:
                optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter.device).clone()
                    for key, value in own.items()
                }
