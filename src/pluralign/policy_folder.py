"""A policy's folder: policy.json, base/ (a plain Hugging Face folder) and steering.safetensors. Used by policy.py only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pluralign import __version__
from pluralign.base_model import plain_model, save_base
from pluralign.data.condition import Bounds
from pluralign.data.objective import Objective
from pluralign.errors import ConfigError, DataError, ModelError
from pluralign.plugins import load_class, module_names
from pluralign.steering.contract import Steering
from pluralign.steering.surgery import base_state
from pluralign.storage import atomic_folder, atomic_write, check_format_version, damage, read_json, write_json

if TYPE_CHECKING:
    from pluralign.policy import Policy

FORMAT_VERSION = 1
ABOUT, CHANGES, BASE, HELPERS = "policy.json", "steering.safetensors", "base", "helpers"


@dataclass(frozen=True)
class About:
    """What policy.json says."""

    steering: Steering
    objectives: tuple[Objective, ...]
    bounds: Bounds
    encoder: dict[str, Any]
    lineage: dict[str, Any]


def make_steering(kind: str, config: Mapping[str, Any]) -> Steering:
    """The steering of a kind (a file of `pluralign.steering`, or "module:Class") with its fields."""
    try:
        if ":" in kind:
            return load_class(kind, "pluralign.steering")(**config)
        for file in module_names("pluralign.steering"):
            if file.replace(".", "_") == kind:
                return load_class(file, "pluralign.steering", kind=kind)(**config)
    except TypeError as error:
        raise ConfigError(f"steering {kind!r} does not take these settings {dict(config)}: {error}") from error
    raise ConfigError(
        f"unknown steering {kind!r}; known are none, plural, mixture and prompt_* (or module:Class of your own)"
    )


def write(policy: Policy, folder: str | Path, overwrite: bool) -> Path:
    """Write the folder, whole or not at all."""
    from safetensors.torch import save

    with atomic_folder(folder, overwrite) as temporary:
        base = plain_model(policy.model, base_state(policy.model))
        if policy.model.config.tie_word_embeddings:
            base.config.tie_word_embeddings = True
            base.tie_weights()
        save_base(base, policy.encoder.tokenizer, temporary / BASE)
        tensors = {name: tensor.contiguous() for name, tensor in policy.steering_state().items()}
        atomic_write(temporary / CHANGES, save(tensors, {"format": "pt"}))
        write_json(temporary / ABOUT, describe(policy))
        for number, helper in enumerate(policy.helpers):
            write(helper, temporary / HELPERS / str(number), overwrite)
    return Path(folder)


def helpers(folder: str | Path) -> list[Path]:
    """The folders of a policy's helpers, in order. ModelError where one is missing."""
    found = {path.name: path for path in (Path(folder) / HELPERS).glob("*")}
    wanted = [str(number) for number in range(len(found))]
    if set(wanted) != set(found):
        raise ModelError(f"{Path(folder) / HELPERS} is incomplete: it has {', '.join(sorted(found))}")
    return [found[name] for name in wanted]


def check_vocabulary(policy: Policy, others: Sequence[Policy]) -> None:
    """ModelError unless the others have the same tokens under the same numbers, and end with the same one."""
    tokenizer = policy.encoder.tokenizer
    own = tokenizer.get_vocab()
    for other in others:
        theirs = other.encoder.tokenizer.get_vocab()
        different = [token for token in {**own, **theirs} if own.get(token) != theirs.get(token)]
        if different or policy.encoder.end_id != other.encoder.end_id:
            what = (
                f"{len(different)} tokens differ, e.g. {sorted(different)[:3]}" if different else "they end differently"
            )
            raise ModelError(
                "models that answer together must have one vocabulary, and these have not: "
                f"{what}; take models of one family"
            )
        head = other.model.get_output_embeddings()
        if getattr(head, "base", head).weight.shape[0] < len(own):
            raise ModelError(f"a helper's head has fewer rows than the vocabulary's {len(own)} tokens; use another one")


def describe(policy: Policy) -> dict[str, Any]:
    """policy.json."""
    steering = policy.steering
    kind = steering.kind if type(steering).__module__.startswith("pluralign.") else _outside(type(steering))
    return {
        "format_version": FORMAT_VERSION,
        "pluralign": __version__,
        "steering": {"kind": kind, **steering.config()},
        "objectives": [objective.to_json() for objective in policy.objectives],
        "bounds": {"ranges": {k: list(v) for k, v in policy.bounds.ranges.items()}, "simplex": policy.bounds.simplex},
        "encoder": policy.encoder.config(),
        "lineage": policy.lineage,
    }


def _outside(cls: type) -> str:
    return f"{cls.__module__}:{cls.__name__}"


def read(folder: str | Path) -> tuple[About, dict[str, Tensor]]:
    """policy.json and the changes. Raises ModelError, DataError or FormatVersionError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(folder) / ABOUT
    if not path.is_file():
        raise ModelError(f"{folder} is no policy folder: it has no {ABOUT}. Give the 'policy' folder of a finished run")
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError("must be a JSON object", path=path)
    check_format_version(value.get("format_version"), FORMAT_VERSION, path)
    if not (Path(folder) / BASE).is_dir():  # a relative path would be taken for a hub id
        raise ModelError(f"{folder} is no whole policy folder: it has no {BASE}/ with the base model")
    with damage(Path(folder) / ABOUT):
        about = _about(value)
    try:
        tensors = load((Path(folder) / CHANGES).read_bytes())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{Path(folder) / CHANGES} is missing or damaged: {error}") from error
    return about, tensors


def _about(value: Mapping[str, Any]) -> About:
    steering = dict(value["steering"])
    if not isinstance(value["bounds"]["simplex"], bool):
        raise TypeError("bounds.simplex must be true or false")
    return About(
        steering=make_steering(steering.pop("kind"), steering),
        objectives=tuple(Objective.from_json(item) for item in value["objectives"]),
        bounds=Bounds(
            {name: (low, high) for name, (low, high) in value["bounds"]["ranges"].items()}, value["bounds"]["simplex"]
        ),
        encoder=dict(value["encoder"]),
        lineage=dict(value["lineage"]),
    )
