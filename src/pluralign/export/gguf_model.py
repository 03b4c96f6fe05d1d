"""A whole model as one GGUF file: shape, tokenizer, chat template and tensors; read back and compared, each number."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import ModelError
from pluralign.export.gguf_layers import Array, Layers, numbers
from pluralign.export.gguf_options import GgufKind, check_architecture
from pluralign.export.gguf_tokens import Vocabulary, vocabulary
from pluralign.policy import Policy

log = logging.getLogger("pluralign")
HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Entry:
    """A tensor of the file: GGUF's name, what it should hold (our order of rows), and whose parameter's rows these are
    ("": in no order of heads)."""

    name: str
    tensor: Tensor
    rows: str = ""


def write_model(policy: Policy, state: Mapping[str, Tensor], path: Path, kind: GgufKind, *, tied: bool) -> None:
    """Write plain weights (by Hugging Face's names) with the policy's tokenizer; a tied head is left out.

    Raises ModelError for what has no exact form, and where the file does not give back what went in.
    """
    import gguf

    config = policy.model.config
    check_architecture(config)
    layers = Layers(config)
    words = vocabulary(policy.encoder, policy.model.get_input_embeddings().num_embeddings)
    entries = [Entry(layers.name(name), tensor, name) for name, tensor in state.items() if not (tied and name == HEAD)]
    writer = gguf.GGUFWriter(str(path), layers.architecture)
    writer.add_type("model")
    writer.add_name("exported by pluralign")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if kind == "f32" else gguf.LlamaFileType.MOSTLY_F16)
    _add_shape(writer, config, len(words.tokens))
    _add_words(writer, words, policy.encoder.chat_template())
    if "llama3" in str((config.rope_parameters or {}).get("rope_type")):
        writer.add_tensor("rope_freqs.weight", _rope_factors(policy.model))
    finish(writer, path, layers, kind, entries)
    _check_words(path, words)


def finish(writer: Any, path: Path, layers: Layers, kind: GgufKind, entries: Sequence[Entry]) -> None:
    """Write the file's head and its tensors, and read these back (ModelError unless all are as they should be)."""
    for entry in entries:
        writer.add_tensor(entry.name, layers.turned(entry.rows, numbers(entry.tensor, kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    _check_tensors(path, layers, kind, entries)


def _add_shape(writer: Any, config: Any, size: int) -> None:
    """Hyper-parameters of the Llama family."""
    import gguf

    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    rope = config.rope_parameters or {}
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", None) or heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_vocab_size(size)
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _rope_factors(model: Any) -> Array:
    """By what each rotation's frequency is divided [head size / 2]."""
    [found] = [module for name, module in model.named_modules() if name.endswith("rotary_emb")]
    used = found.inv_freq.detach().cpu().double()
    base = float(model.config.rope_parameters["rope_theta"])
    plain = base ** -(torch.arange(len(used), dtype=torch.float64) / len(used))
    factors: Array = (plain / used).float().numpy()
    return factors


def _add_words(writer: Any, words: Vocabulary, template: str) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    if words.scores:
        writer.add_token_scores(words.scores)
        writer.add_add_space_prefix(words.space_first)
    if words.merges:
        writer.add_token_merges(words.merges)
    writer.add_eos_token_id(words.end)
    for number, add in (
        (words.begin, writer.add_bos_token_id),
        (words.unknown, writer.add_unk_token_id),
        (words.padding, writer.add_pad_token_id),
    ):
        if number is not None:
            add(number)
    writer.add_add_bos_token(words.adds_begin)
    writer.add_add_eos_token(False)
    writer.add_chat_template(template)


def _check_words(path: Path, words: Vocabulary) -> None:
    """ModelError unless the file's tokens are the tokenizer's."""
    import gguf

    reader = gguf.GGUFReader(str(path))
    for key, expected in (("tokens", words.tokens), ("token_type", words.kinds), ("merges", words.merges)):
        read = reader.get_field(f"tokenizer.ggml.{key}")
        if (read.contents() if read is not None else []) != expected:
            raise ModelError(f"{path.name}: its {key} are not what was written; this is a fault of pluralign or gguf")


def _check_tensors(path: Path, layers: Layers, kind: GgufKind, entries: Sequence[Entry]) -> None:
    import gguf

    read = {tensor.name: tensor.data for tensor in gguf.GGUFReader(str(path)).tensors}
    rounding = 0.0
    for entry in entries:
        wide = numbers(entry.tensor, "f32")
        found = np.array(read.get(entry.name, np.empty(0)))
        if found.shape == wide.shape:
            found = layers.turned_back(entry.rows, found)
        if not np.array_equal(found, numbers(entry.tensor, kind)):
            raise ModelError(f"{path.name}: {entry.name} is not what was written; this is a fault of pluralign or gguf")
        rounding = max(rounding, float(np.abs(found.astype(np.float32) - wide).max(initial=0.0)))
    log.info("%s read back: every tensor as it should be, largest rounding of a weight %.1e", path.name, rounding)
