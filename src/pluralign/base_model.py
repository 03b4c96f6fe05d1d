"""Base models: Hugging Face causal LMs, from a folder or a hub id, in and out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.errors import ConfigError, ModelError, StorageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_base(
    source: str | Path, *, dtype: str = "float32", device: str = "cpu", adapter: str | Path | None = None
) -> tuple[Any, Any]:
    """(model, tokenizer) in evaluation mode. `adapter` is a peft LoRA folder that is merged into the weights.

    Safetensors only, no remote code. Raises ModelError with a reason and what to do (also for weights that are
    missing from the files and for models that read ahead), ConfigError for a bad dtype.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if dtype not in DTYPES:
        raise ConfigError(f"dtype is one of {', '.join(DTYPES)}, got {dtype!r}")
    name = _place(source)
    with _model_errors(source), quiet():
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        _check_decoder_only(config, source)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, dtype=DTYPES[dtype], use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    model, loading = loaded
    _check_complete(loading, source)
    _check_causal(model.eval(), source)
    if adapter is not None:
        model = _merge_adapter(model, adapter)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to(device).eval(), tokenizer


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


def _check_complete(loading: dict[str, Any], source: str | Path) -> None:
    missing = [*loading.get("missing_keys", ()), *loading.get("mismatched_keys", ())]
    if missing:  # transformers would make them up
        raise ModelError(f"{source} lacks {len(missing)} of the model's weights, e.g. {sorted(map(str, missing))[:3]}")


@torch.no_grad()
def _check_causal(model: Any, source: str | Path) -> None:
    """Another last token must not change what comes before it."""
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]]) % vocabulary
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    if not bool(logits.isfinite().all()):
        damaged = not_finite(model) or "some product of its weights"
        raise ModelError(
            f"{source}: {damaged} is not finite (NaN or infinity); the checkpoint is damaged, or its training diverged: "
            "take an earlier one"
        )
    if not torch.allclose(logits[0], logits[1], rtol=1e-2, atol=1e-2 * float(logits.abs().max())):
        raise ModelError(f"{source} ({model.config.model_type}) reads ahead: it is no causal model; use a causal LM")


def not_finite(model: Any) -> str | None:
    """The first parameter or buffer that holds NaN or infinity; None where there is none."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return str(name)
    return None


@contextlib.contextmanager
def _model_errors(source: str | Path) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # damaged files: tokenizers raises plain Exception, configs TypeError and AttributeError
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot load a causal language model from {source}: {reason}. It must be a local folder or a reachable hub "
            "id with config.json, *.safetensors and a tokenizer"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No 'Loading weights' bars and notices for models that load in a moment; errors still raise."""
    from transformers.utils import logging as transformers_logging

    hub = logging.getLogger("huggingface_hub")
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub_level = hub.level
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(hub_level)
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _merge_adapter(model: Any, adapter: str | Path) -> Any:
    """The model with a peft LoRA in its weights; a tied head that the LoRA changes is untied first."""
    from peft import PeftConfig, PeftModel

    for file in ("adapter_config.json", "adapter_model.safetensors"):  # peft would read a pickle otherwise
        if not (Path(adapter) / file).is_file():
            raise ModelError(f"{adapter} is no peft adapter folder: it has no {file}")
    with _model_errors(adapter), quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft's use of transformers
        kind = PeftConfig.from_pretrained(str(adapter)).peft_type
        if kind != "LORA":
            raise ModelError(f"{adapter} is a peft {kind} adapter; only LoRA can be merged into the weights")
        untied = plain_model(model, dict(model.state_dict()))
        return PeftModel.from_pretrained(untied, str(adapter)).merge_and_unload()


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
    with quiet():
        plain = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    plain.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, strict=True)
    if model.generation_config is not None:
        plain.generation_config = model.generation_config
    return plain.to(model.device).eval()


def save_base(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a plain Hugging Face folder. Raises StorageError (or OSError) where the disk refuses."""
    try:
        with quiet():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except OSError:
        raise
    except Exception as error:  # safetensors and tokenizers report a full disk in exceptions of their own
        raise StorageError(f"cannot write {folder}: {error}; nothing was left half-written. Free space") from error
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors lets only the owner read
