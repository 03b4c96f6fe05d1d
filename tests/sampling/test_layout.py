"""The layout for decoding: other strides, the same numbers, the same replies, and policies that can still be saved."""

from __future__ import annotations

from pathlib import Path

import torch
from test_loop import policy, requests

from pluralign.policy import Policy
from pluralign.sampling.engine import Engine
from pluralign.sampling.layout import lay_out


def test_only_strides_change(tmp_path: Path) -> None:
    built = policy(steering="attention", double=False)
    before = {name: tensor.clone() for name, tensor in built.model.state_dict().items()}
    replies = [each.ids for each in Engine(built).generate(requests(6))]
    assert lay_out(built.model) == 2 * 7 + 1
    weight = built.model.get_decoder().layers[0].mlp.up_proj.weight
    assert weight.stride() == (1, weight.shape[0])
    for name, tensor in built.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert [each.ids for each in Engine(built).generate(requests(6))] == replies
    assert lay_out(built.model) == 0
    again = Policy.load(built.save(tmp_path / "policy")).model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items())


def test_a_tied_matrix_stays_tied() -> None:
    built = policy("both", "low heads")
    head, words = built.model.get_output_embeddings().base.weight, built.model.get_input_embeddings().weight
    assert head is words
    lay_out(built.model)
    assert built.model.get_output_embeddings().base.weight is built.model.get_input_embeddings().weight
