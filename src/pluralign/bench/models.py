"""What is trained in a benchmark: random Llamas and a word tokenizer, made in memory.

Speed does not depend on the values of weights, so they are random; equality does, so the head is large enough for
logits of a trained model's size (standard deviation about 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

END = "</s>"
FIRST_WORD = 3  # the ids before it are <unk>, </s> and <pad>


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama: `name`, `vocabulary` V, `width` d, `inner` (of the MLP), `layers`, `heads`, key-value heads `kv_heads`."""

    name: str
    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int

    @property
    def layer_parameters(self) -> int:
        """Weights of the matrices of one layer."""
        kv_width = self.width * self.kv_heads // self.heads
        return 2 * self.width * (self.width + kv_width) + 3 * self.width * self.inner


S = Shape("S", 32_000, 288, 768, 6, 6, 6)
M = Shape("M", 32_000, 512, 1376, 8, 8, 8)
S_128K = Shape("S, vocabulary 128k", 128_000, 288, 768, 6, 6, 6)
ONE_BILLION = Shape("1B", 128_256, 2048, 8192, 16, 32, 8)


def base_weights(shape: Shape, seed: int = 0, dtype: str = "float32", device: str = "cpu") -> Any:
    """A random Llama of this shape, in evaluation mode; give it to `sharing` for every model that is trained."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_config(shape), dtype=getattr(torch, dtype)).to(device).eval()
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head.normal_(std=2 / shape.width**0.5)
    return model


def sharing(base: Any) -> Any:
    """A new model object whose frozen weights are the tensors of `base`, so that many models fit into memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base.config, dtype=base.dtype)
    model.load_state_dict(base.state_dict(), assign=True)
    for (name, buffer), (_, own) in zip(list(model.named_buffers()), base.named_buffers(), strict=True):
        if buffer.is_meta:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, own)
    return model.requires_grad_(False).eval()


def _config(shape: Shape) -> Any:
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=2,
    )
    config._attn_implementation = "sdpa"
    return config


def word_tokenizer(vocabulary: int) -> Any:
    """A tokenizer of words w3, w4, ...: one token each, its id the number."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, END: 1, "<pad>": 2} | {f"w{number}": number for number in range(FIRST_WORD, vocabulary)}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token=END, pad_token="<pad>")
