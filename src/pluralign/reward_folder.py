"""A reward model's folder, used by reward_model.py only.

reward.json         format_version, kind, objectives, reading, shift, scale, encoder, lineage
base/               the trunk and its tokenizer, a plain Hugging Face folder (an adapter is merged into it)
head.safetensors    weight [H, d], bias [H], float32
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pluralign import __version__
from pluralign.base_model import plain_model, save_base
from pluralign.errors import DataError, ModelError
from pluralign.steering.surgery import merged_state
from pluralign.storage import atomic_folder, atomic_write, check_format_version, read_json, write_json

if TYPE_CHECKING:
    from pluralign.reward_model import RewardModel

FORMAT_VERSION = 1
ABOUT, HEAD, BASE = "reward.json", "head.safetensors", "base"
HEAD_NAME = "reward_head"  # the head's name as a module of the trunk


def write(reward: RewardModel, folder: str | Path, overwrite: bool) -> Path:
    """Write the folder, whole or not at all."""
    from safetensors.torch import save

    trunk = reward.trunk
    with atomic_folder(folder, overwrite) as temporary:
        merged = merged_state(trunk.model, trunk.coefficients([None])[0])
        state = {name: tensor for name, tensor in merged.items() if not name.startswith(HEAD_NAME + ".")}
        base = plain_model(trunk.model, state)
        if trunk.model.config.tie_word_embeddings:
            base.config.tie_word_embeddings = True
            base.tie_weights()
        save_base(base, trunk.encoder.tokenizer, temporary / BASE)
        tensors = {
            name: tensor.detach().float().cpu().contiguous() for name, tensor in reward.head.state_dict().items()
        }
        atomic_write(temporary / HEAD, save(tensors, {"format": "pt"}))
        write_json(temporary / ABOUT, describe(reward))
    return Path(folder)


def describe(reward: RewardModel) -> dict[str, Any]:
    """reward.json."""
    return {
        "format_version": FORMAT_VERSION,
        "pluralign": __version__,
        "kind": reward.kind,
        "num_classes": reward.num_classes,
        "reading": reward.reading,
        "objectives": [objective.to_json() for objective in reward.objectives],
        "shift": list(reward.shift),
        "scale": list(reward.scale),
        "encoder": reward.trunk.encoder.config(),
        "lineage": reward.lineage,
    }


def read(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """reward.json and the head's tensors. Raises ModelError, DataError or FormatVersionError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(folder) / ABOUT
    if not path.is_file():
        raise ModelError(f"{folder} is no reward model: it has no {ABOUT}. Give the 'reward' folder of a finished run")
    about = read_json(path)
    if not isinstance(about, dict):
        raise DataError("must be a JSON object", path=path)
    check_format_version(about.get("format_version"), FORMAT_VERSION, path)
    if not (Path(folder) / BASE).is_dir():  # a relative path would be taken for a hub id
        raise ModelError(f"{folder} is no whole reward model: it has no {BASE}/ with the trunk")
    try:
        return about, load((Path(folder) / HEAD).read_bytes())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{Path(folder) / HEAD} is missing or damaged: {error}") from error
