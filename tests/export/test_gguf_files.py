"""GGUF: another reader of the format finds the policy in it, rows change places as llama.cpp expects, odd tokenizers are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf_words import byte_level
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from pluralign.data.condition import Weights
from pluralign.data.presets import Presets
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError, MissingExtraError, ModelError
from pluralign.export.adapter import export_lora, factors
from pluralign.export.bundle import export_adapters
from pluralign.export.gguf_layers import Layers, numbers
from pluralign.export.gguf_options import check_gguf
from pluralign.export.gguf_tokens import vocabulary
from pluralign.export.whole import export
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from tiny import OBJECTIVES, config, model, policy, shake

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]
ASKED = Weights({"kind": 0.25, "funny": 0.75}, 1.5)


def steered_on(words: PreTrainedTokenizerFast, shape: Any = LlamaConfig, where: str = "all", **options: Any) -> Policy:
    """A shaken policy of a tiny model with that tokenizer."""
    about = {**config().to_dict(), "vocab_size": len(words) + 3, "num_key_value_heads": 2, "bos_token_id": None}
    about = {name: value for name, value in about.items() if name not in ("model_type", "architectures", "head_dim")}
    made = model(shape(**{**about, "initializer_range": 0.1, **options}))
    steering = PluralSteering(where=where, rank=2, shared_where="attention", shared_rank=3)  # type: ignore[arg-type]
    steered = Policy(made, Encoder(words), steering, OBJECTIVES)
    shake(steered, 0.1)
    return steered


def ids_for(steered: Policy) -> torch.Tensor:
    return torch.randint(290, (3, 12), generator=torch.Generator().manual_seed(0))


def own(steered: Policy, condition: Weights | None) -> torch.Tensor:
    with torch.no_grad():
        return steered.model(ids_for(steered), steer=steered.coefficients([condition])).logits.log_softmax(-1)


def read_by_transformers(folder: Path, steered: Policy) -> torch.Tensor:
    """Log-probabilities of the GGUF file, as transformers' own reader of the format loads it."""
    plain = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32)
    with torch.no_grad():
        return plain(ids_for(steered)).logits.log_softmax(-1)


# -- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [LlamaConfig, Qwen2Config], ids=["llama", "qwen2"])
def test_another_reader_finds_the_policy(tmp_path: Path, shape: Any) -> None:
    steered = steered_on(byte_level(), shape)
    folder = export(steered, tmp_path / "out", ASKED, gguf="f32").folder
    assert torch.allclose(read_by_transformers(folder, steered), own(steered, ASKED), atol=1e-4)
    half = export(steered, tmp_path / "half", ASKED, gguf="f16").folder
    near = (read_by_transformers(half, steered) - own(steered, ASKED)).abs().max()
    assert 1e-5 < float(near) < 0.1  # rounded, and the same model


def test_what_the_file_says_of_the_model(tmp_path: Path) -> None:
    steered = steered_on(byte_level("llama-bpe", chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}"))
    folder = export(steered, tmp_path / "out", ASKED, gguf="f32").folder
    reader = gguf.GGUFReader(str(folder / "model.gguf"))
    said = {name: field.contents() for name, field in reader.fields.items()}
    size = steered.model.config.vocab_size
    expected = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "llama.rope.dimension_count": 8, "llama.embedding_length": 32,
        "llama.feed_forward_length": 48, "llama.context_length": 64, "llama.vocab_size": size,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": steered.encoder.chat_template(),
    }  # fmt: skip
    assert {name: said.get(name) for name in expected} == expected
    tokens, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert len(tokens) == size and kinds[:2] == [3, 3] and kinds[-3:] == [5, 5, 5]  # special; more rows than tokens
    own_words = steered.encoder.tokenizer.convert_ids_to_tokens(list(range(size - 3)))
    assert tokens[: size - 3] == own_words and tokens[-1] == f"[PAD{size - 1}]"
    assert {tensor.name for tensor in reader.tensors} >= {"token_embd.weight", "output.weight", "blk.1.attn_q.weight"}


def test_rows_change_places_as_llama_cpp_expects() -> None:
    layers = Layers(LlamaConfig(num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1))
    rows = np.arange(8.0).reshape(8, 1)  # two heads of four numbers: halves (0 1 | 2 3) become pairs (0 2) (1 3)
    turned = layers.turned("model.layers.0.self_attn.q_proj.weight", rows)[:, 0]
    assert turned.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert layers.turned("model.layers.0.self_attn.k_proj.weight", rows)[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert layers.turned("model.layers.0.self_attn.v_proj.weight", rows) is rows
    qwen = Layers(Qwen2Config(num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1))
    assert qwen.turned("model.layers.0.self_attn.q_proj.weight", rows) is rows
    assert layers.name("model.layers.0.mlp.down_proj.weight") == "blk.0.ffn_down.weight"
    with pytest.raises(ModelError, match="no place for"):
        layers.name("visual.patches.weight")


@given(heads=st.integers(1, 5), half=st.integers(1, 6), width=st.integers(1, 3))
def test_rows_come_back(heads: int, half: int, width: int) -> None:
    layers = Layers(LlamaConfig(hidden_size=2 * heads, num_attention_heads=heads, num_hidden_layers=1))
    rows = np.random.default_rng(0).normal(size=(heads * 2 * half, width))
    there = layers.turned("model.layers.0.self_attn.k_proj.weight", rows)
    assert np.array_equal(layers.turned_back("model.layers.0.self_attn.k_proj.weight", there), rows)


@pytest.mark.real_data
def test_a_real_llama_and_its_sentence_pieces(tmp_path: Path, real_data: Path) -> None:
    steered = Policy.from_base(real_data / "stories260k", PluralSteering(where="all", rank=2), OBJECTIVES)
    shake(steered, 0.02)
    folder = export(steered, tmp_path / "out", ASKED, gguf="f32").folder
    assert torch.allclose(read_by_transformers(folder, steered), own(steered, ASKED), atol=1e-4)
    said = gguf.GGUFReader(str(folder / "model.gguf"))
    assert said.get_field("tokenizer.ggml.model").contents() == "llama"
    assert said.get_field("tokenizer.ggml.add_bos_token").contents() is True
    letters = Policy.from_base(real_data / "stories_char105", PluralSteering(rank=2), OBJECTIVES)
    with pytest.raises(ModelError, match="no exact GGUF form"):
        check_gguf(letters, "f32")


# -- adapters ------------------------------------------------------------------------------------------------------


def test_an_adapter_adds_the_change_to_the_file(tmp_path: Path) -> None:
    steered = steered_on(byte_level())
    found = export_adapters(steered, tmp_path / "out", Presets({"asked": ASKED}), gguf="f32").folder
    base = {t.name: np.array(t.data) for t in gguf.GGUFReader(str(found / "base" / "model.gguf")).tensors}
    merged_folder = export(steered, tmp_path / "merged", ASKED, gguf="f32").folder
    merged = {t.name: np.array(t.data) for t in gguf.GGUFReader(str(merged_folder / "model.gguf")).tensors}
    scales = {"objectives/kind": 0.375, "objectives/funny": 1.125, "presets/asked": 1.0}
    added = {path: gguf.GGUFReader(str(found / path / "adapter.gguf")) for path in scales}
    for paths in (["objectives/kind", "objectives/funny"], ["presets/asked"]):
        total = {name: values.copy() for name, values in base.items()}
        for path in paths:
            parts = {t.name: np.array(t.data) for t in added[path].tensors}
            alpha = added[path].get_field("adapter.lora.alpha").contents()
            for name in {name.rpartition(".")[0] for name in parts}:
                down, up = parts[f"{name}.lora_a"], parts[f"{name}.lora_b"]
                total[name] += scales[path] * (alpha / down.shape[0]) * (up @ down)
        assert set(total) == set(merged)
        assert all(np.allclose(total[name], merged[name], atol=1e-5) for name in merged)
    assert added["presets/asked"].get_field("general.type").contents() == "adapter"


def test_an_adapter_needs_no_tokenizer(tmp_path: Path) -> None:
    steered = policy(PluralSteering(where="attention", rank=2), shaken=0.1)  # one token per word
    with pytest.raises(ModelError, match="its model is WordLevel"):
        export(steered, tmp_path / "out", ASKED, gguf="f32")
    assert not (tmp_path / "out").exists()
    folder = export_lora(steered, tmp_path / "out", ASKED, gguf="f32").folder
    names = {tensor.name for tensor in gguf.GGUFReader(str(folder / "adapter.gguf")).tensors}
    assert len(names) == 2 * len(factors(steered, ASKED)) and "blk.0.attn_q.weight.lora_b" in names


# -- what else is refused ------------------------------------------------------------------------------------------


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)  # what Python keeps where there is none
    with pytest.raises(MissingExtraError, match=r"pip install 'pluralign\[gguf\]'"):
        check_gguf(policy(PluralSteering(rank=2)), "f16")


def test_models_without_an_exact_form_are_refused() -> None:
    words = byte_level()
    gpt2 = model(GPT2Config(vocab_size=len(words), n_embd=32, n_layer=1, n_head=4, n_positions=64))
    other = Policy(gpt2, Encoder(words), PluralSteering(), OBJECTIVES)
    with pytest.raises(ModelError, match="architecture is 'gpt2'"):
        check_gguf(other, "f32")
    yarn = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 32}
    for reason, options in (
        ("activation is 'gelu'", {"hidden_act": "gelu"}),
        ("scaled in the way 'yarn'", {"rope_parameters": yarn}),
    ):
        with pytest.raises(ModelError, match=reason):
            check_gguf(steered_on(words, **options), "f32")
    steered = steered_on(words)
    with pytest.raises(ConfigError, match="none, f32 or f16"):
        check_gguf(steered, "q4_0")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="tokens up to number 299, the model only 200"):
        vocabulary(steered.encoder, 200)
    with pytest.raises(ModelError, match="f16 ends at 65504"):
        numbers(torch.tensor([[70000.0]]), "f16")
