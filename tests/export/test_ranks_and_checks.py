"""Ranks that servers take, products that filling leaves alone, and a check that finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pluralign.data.condition import Weights
from pluralign.data.presets import Presets
from pluralign.errors import ConfigError, ModelError
from pluralign.export.adapter import export_lora, factors, write_lora
from pluralign.export.bundle import export_presets
from pluralign.export.check import ALLOWED, Adapted, _difference, agreed, check_model, difference
from pluralign.export.formats import export_as
from pluralign.export.ranks import LEGAL, filled, legal_rank
from pluralign.export.whole import export
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.steering.surgery import base_state, merged_state
from pluralign.steering.vectors import VectorSteering
from tiny import policy

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]
ASKED = Weights({"kind": 0.25, "funny": 0.75}, 1.5)
MIXED = PluralSteering(where="head", rank=3, shared_where="attention", shared_rank=2)  # ranks 3 to 9 and 2


@given(st.integers(1, 512))
def test_the_next_legal_rank(rank: int) -> None:
    found = legal_rank(rank)
    assert found in LEGAL and found >= rank and not any(rank <= other < found for other in LEGAL)


def test_ranks_beyond_the_largest_are_refused(tmp_path: Path) -> None:
    assert [legal_rank(rank) for rank in (1, 2, 8, 9, 257, 321)] == [1, 8, 8, 16, 320, 512]
    with pytest.raises(ModelError, match=r"rank 513.*vLLM takes 512 at most.*natural"):
        legal_rank(513)
    wide = policy(PluralSteering(rank=300), shaken=0.01)
    with pytest.raises(ModelError, match="rank 600"):
        export_lora(wide, tmp_path / "out", ASKED)
    assert not (tmp_path / "out").exists()
    found = export_lora(wide, tmp_path / "out", ASKED, rank="natural")
    assert json.loads((found.folder / "adapter_config.json").read_text())["r"] == 600
    with pytest.raises(ConfigError, match="'legal'"):
        export_lora(wide, tmp_path / "two", ASKED, rank="even")  # type: ignore[arg-type]


@settings(max_examples=8, deadline=None)
@given(
    shares=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    strength=st.floats(0.1, 3),
    rank=st.sampled_from(LEGAL[2:5]),
)
def test_factors_are_the_change_of_the_weights(shares: list[float], strength: float, rank: int) -> None:
    total = sum(shares) or 1.0
    values = [share / total for share in shares] if sum(shares) else [1.0, 0.0, 0.0]
    asked = Weights(dict(zip(("kind", "brief", "funny"), values, strict=True)), strength)
    steered = policy(MIXED, shaken=0.2)
    merged = merged_state(steered.model, steered.coefficients([asked])[0])
    base = base_state(steered.model)
    for name, (down, up) in factors(steered, asked).items():
        down, up = filled(down, up, rank)
        assert down.shape[0] == up.shape[1] == rank
        change = merged[f"{name}.weight"] - base[f"{name}.weight"]
        assert torch.allclose(up @ down, change, atol=1e-5)


@pytest.mark.parametrize("rank", ["legal", "natural"])
def test_an_adapter_file_holds_a_and_b_only(tmp_path: Path, rank: str) -> None:
    steered = policy(MIXED, shaken=0.2, tie_word_embeddings=True)
    folder = export_lora(steered, tmp_path / "out", ASKED, rank=rank).folder  # type: ignore[arg-type]
    tensors = load_file(folder / "adapter_model.safetensors")
    assert tensors and all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in tensors)
    ranks = {name: tensor.shape[0] for name, tensor in tensors.items() if name.endswith("lora_A.weight")}
    about = json.loads((folder / "adapter_config.json").read_text())
    assert sorted(about["target_modules"]) == ["k_proj", "lm_head", "o_proj", "q_proj", "v_proj"]
    head = "base_model.model.lm_head.lora_A.weight"
    if rank == "legal":  # one rank for all layers, so a server that reads r and lora_alpha alone is right
        assert set(ranks.values()) == {8} == {about["r"], about["lora_alpha"]} and not about["rank_pattern"]
    else:
        assert ranks.pop(head) == 6 and set(ranks.values()) == {2} and about["rank_pattern"]
    base = Adapted(steered).base  # written again by peft, without the embeddings: the same tensors
    again = peft.PeftModel.from_pretrained(base, str(folder))
    again.save_pretrained(str(tmp_path / "again"), save_embedding_layers=False)
    assert load_file(tmp_path / "again" / "adapter_model.safetensors").keys() == tensors.keys()


def test_a_tied_head_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export_lora(policy(PluralSteering(rank=2), shaken=0.2, tie_word_embeddings=True), tmp_path / "out", ASKED)
    assert "loaded, but not merged" in caplog.text
    caplog.clear()
    export_lora(policy(PluralSteering(rank=2), shaken=0.2), tmp_path / "untied", ASKED)
    attention = PluralSteering(rank=2, where="attention")
    export_lora(policy(attention, shaken=0.2, tie_word_embeddings=True), tmp_path / "trunk", ASKED)
    assert "not merged" not in caplog.text


# -- the check -----------------------------------------------------------------------------------------------------


def test_a_model_with_one_wrong_number_is_found(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=3), shaken=0.1)
    found = export(steered, tmp_path / "out", ASKED)
    assert found.differences["model"] <= ALLOWED
    file = found.folder / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"][3, 5] += 0.1
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match="differs from the policy by"):
        check_model(steered, ASKED, found.folder)
    plain = AutoModelForCausalLM.from_pretrained(found.folder, dtype="float32").eval()
    assert difference(steered, ASKED, plain) > 1e-3
    assert difference(steered, Weights({"kind": 1.0}), plain) > 1e-3


def test_rounding_is_no_difference(tmp_path: Path) -> None:
    steered = policy(PluralSteering(where="all", rank=3), shaken=1.0)  # logits of hundreds
    before = {name: tensor.clone() for name, tensor in steered.model.state_dict().items()}
    write_lora(steered, tmp_path / "out", factors(steered, ASKED), "legal")
    adapted = Adapted(steered)
    adapted.load("asked", tmp_path / "out")
    narrow = _difference(steered, ASKED, adapted.model)
    assert difference(steered, ASKED, adapted.model) <= ALLOWED < narrow
    after = steered.model.state_dict()
    assert all(
        tensor.dtype == after[name].dtype and torch.equal(tensor, after[name]) for name, tensor in before.items()
    )


def test_an_adapter_of_another_condition_is_found(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=3), shaken=0.1)
    write_lora(steered, tmp_path / "out", factors(steered, ASKED), "legal")
    assert Adapted(steered).check("asked", tmp_path / "out", ASKED) <= ALLOWED
    with pytest.raises(ModelError, match="'asked' differs from the policy"):
        Adapted(steered).check("asked", tmp_path / "out", Weights({"kind": 1.0}))


def test_no_number_is_no_agreement() -> None:
    assert agreed("it", 1e-4) == 1e-4
    for bad in (float("nan"), float("inf"), 1.1e-4):
        with pytest.raises(ModelError, match="nothing was written"):
            agreed("it", bad)


def test_a_failed_check_leaves_nothing(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=3), shaken=0.1)
    with torch.no_grad():
        next(iter(steered.trainable_state().values()))[0] = float("nan")
    for write in (export, export_lora):
        with pytest.raises(ModelError, match=r"differs from the policy by nan|not finite"):
            write(steered, tmp_path / "out", ASKED)
    assert list(tmp_path.iterdir()) == []
    assert export(steered, tmp_path / "out", ASKED, check=False).differences == {}


# -- formats -------------------------------------------------------------------------------------------------------


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=2), shaken=0.1)
    named = tmp_path / "presets.json"
    named.write_text('{"warm": "kind=1"}')
    for format, options, reason in (
        ("onnx", {}, "unknown format 'onnx'; allowed are merged, lora, adapters, presets"),
        ("merged", {"presets": named}, "--presets does nothing in format merged: it acts in adapters and presets"),
        ("lora", {"each": "lora"}, "--each does nothing in format lora"),
        ("adapters", {"condition": ASKED}, "--steer does nothing in format adapters"),
        ("presets", {"presets": named, "rank": "legal"}, "give --each lora"),
        ("presets", {}, "needs a file of presets"),
        ("merged", {"gguf": "q8_0"}, "gguf is none, f32 or f16"),
    ):
        with pytest.raises(ConfigError, match=reason):
            export_as(format, steered, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("steering", "reason"),
    [(MixtureSteering(rank=2), "mixture"), (VectorSteering(), "vectors"), (PromptWeights(), "its condition is text")],
    ids=["mixture", "vectors", "prompt"],
)
def test_what_is_in_no_weights_leaves_with_a_reason(tmp_path: Path, steering: object, reason: str) -> None:
    steered = policy(steering, shaken=0.1)
    half = Weights({"kind": 0.5, "brief": 0.5})
    with pytest.raises(ModelError, match=reason):
        export_presets(steered, tmp_path / "out", Presets({"half": half}))
    with pytest.raises(ModelError):
        export_lora(steered, tmp_path / "out", half)
    assert list(tmp_path.iterdir()) == []
