"""Base models: Hugging Face causal LMs, from a folder or a hub id, in and out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.errors import ConfigError, ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_base(
    source: str | Path, *, dtype: str = "float32", device: str = "cpu", adapter: str | Path | None = None
) -> tuple[Any, Any]:
    """(model, tokenizer) in evaluation mode. `adapter` is a peft LoRA folder that is merged into the weights.

    Safetensors only, no remote code. Raises ModelError with a reason and what to do, ConfigError for a bad dtype.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if dtype not in DTYPES:
        raise ConfigError(f"dtype is one of {', '.join(DTYPES)}, got {dtype!r}")
    name = _place(source)
    with _model_errors(source), _quiet():
        config = AutoConfig.from_pretrained(name)
        _check_decoder_only(config, source)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=DTYPES[dtype], use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(name)
    if adapter is not None:
        model = _merge_adapter(model, adapter)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to(device).eval(), tokenizer  # type: ignore[arg-type]


def _place(source: str | Path) -> str:
    """A folder that exists, or a hub id; anything that looks like a path must exist."""
    text = str(source)
    path = Path(text).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{text} is no model folder: it has no config.json. Give a Hugging Face model folder, or a policy "
                "folder (one with policy.json) where a policy is asked for"
            )
        return str(path)
    if text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise ModelError(f"there is no folder {text}; give a model folder or a hub id such as 'org/name'")
    return text


def _check_decoder_only(config: Any, source: str | Path) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{source} is an encoder-decoder ({config.model_type}); pluralign steers decoder-only causal models, "
            "since a condition acts on one stream of tokens. Use a causal LM"
        )


@contextlib.contextmanager
def _model_errors(source: str | Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError, ImportError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot load a causal language model from {source}: {reason}. It must be a local folder or a reachable hub "
            "id with config.json, *.safetensors and a tokenizer"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No 'Loading weights' bars and notices for models that load in a moment; errors still raise."""
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _merge_adapter(model: Any, adapter: str | Path) -> Any:
    from peft import PeftModel

    if not (Path(adapter) / "adapter_config.json").is_file():
        raise ModelError(f"{adapter} is no peft adapter folder: it has no adapter_config.json")
    with _model_errors(adapter):
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


@torch.no_grad()
def weights_fingerprint(model: Any) -> str:
    """SHA-256 (hex) of all parameters and buffers by name, dtype and content."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def plain_model(model: Any, state: dict[str, Tensor]) -> Any:
    """A fresh model of the same architecture with the given weights, its head untied from the embeddings."""
    from transformers import AutoModelForCausalLM

    config = type(model.config).from_dict(model.config.to_dict())
    config.tie_word_embeddings = False
    with _quiet():
        plain = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    plain.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, strict=True)
    if model.generation_config is not None:
        plain.generation_config = model.generation_config
    return plain.to(model.device).eval()
