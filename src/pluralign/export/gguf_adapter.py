"""A LoRA as GGUF, which llama.cpp adds to a model with a scale per request; read back and compared."""

from __future__ import annotations

from pathlib import Path

from pluralign.export.gguf_layers import Layers
from pluralign.export.gguf_model import Entry, finish
from pluralign.export.gguf_options import GgufKind, check_architecture
from pluralign.export.ranks import Factors, filled
from pluralign.policy import Policy


def write_adapter(policy: Policy, changes: Factors, path: Path, kind: GgufKind) -> None:
    """Write a policy's changes [r, in] and [out, r] by layer, so that scale 1 adds them as they are.

    llama.cpp reads one alpha for all layers and divides it by each layer's rank; so all are filled up to one rank,
    which is alpha. Raises ModelError for what has no exact form.
    """
    import gguf

    check_architecture(policy.model.config)
    layers = Layers(policy.model.config)
    rank = max(down.shape[0] for down, _ in changes.values())
    entries = []
    for name, pair in changes.items():
        down, up = filled(*pair, rank)
        place = layers.name(f"{name}.weight")
        entries += [Entry(f"{place}.lora_a", down), Entry(f"{place}.lora_b", up, f"{name}.weight")]
    writer = gguf.GGUFWriter(str(path), layers.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if kind == "f32" else gguf.LlamaFileType.MOSTLY_F16)
    finish(writer, path, layers, kind, entries)
