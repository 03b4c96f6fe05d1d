"""Folders of several: every part is the policy under its condition, objectives add up, and a program can read what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pluralign.data.condition import Bounds, Weights
from pluralign.data.presets import Presets
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.export.bundle import export_adapters, export_presets
from pluralign.policy import Policy
from pluralign.steering.front import FrontSteering
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.plural_kl import PluralKL
from tiny import OBJECTIVES, config, ids, model, policy, shake, tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]
PRESETS = Presets({"calm": Weights({"kind": 0.75, "brief": 0.25}, 1.5), "short": Weights({"brief": 1.0})})
NAMES = ["kind", "brief", "funny"]
MIXED = {"kind": 0.5, "brief": 0.125, "funny": 0.375}


def logprobs(plain) -> torch.Tensor:
    with torch.no_grad():
        return plain(ids()).logits.log_softmax(-1)


def own(steered: Policy, condition: Weights) -> torch.Tensor:
    with torch.no_grad():
        return steered.model(ids(), steer=steered.coefficients([condition])).logits.log_softmax(-1)


def folder_of(steered: Policy, place: Path, **options) -> Path:
    return export_adapters(steered, place / "out", **options).folder


@pytest.mark.parametrize(("where", "tied"), [("head", True), ("all", False)], ids=["tied head", "all layers"])
def test_adapters_add_up_to_the_policy(tmp_path: Path, where: str, tied: bool) -> None:
    steering = PluralSteering(where=where, rank=3, shared_where="attention", shared_rank=4)  # type: ignore[arg-type]
    steered = policy(steering, shaken=0.2, tie_word_embeddings=tied)
    folder = folder_of(steered, tmp_path, presets=PRESETS)
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype="float32")
    assert base.config.tie_word_embeddings is False  # the head is changed, so it is its own
    adapted = peft.PeftModel.from_pretrained(base, str(folder / "objectives" / "kind"), adapter_name="kind").eval()
    for name in NAMES[1:]:
        adapted.load_adapter(str(folder / "objectives" / name), adapter_name=name)
    for name in NAMES:
        adapted.set_adapter(name)
        assert torch.allclose(logprobs(adapted), own(steered, Weights({name: 1.0})), atol=1e-4)
    for strength in (1.0, 2.0):
        scales = [strength * MIXED[name] for name in NAMES]
        adapted.add_weighted_adapter(NAMES, scales, f"mixed {strength:g}", combination_type="cat")
        adapted.set_adapter(f"mixed {strength:g}")
        expected = own(steered, Weights(MIXED, strength))
        assert torch.allclose(logprobs(adapted), expected, atol=1e-4)
        assert not torch.allclose(expected, own(steered, Weights({"kind": 1.0})), atol=1e-2)
    for name, condition in PRESETS.items():
        adapted.load_adapter(str(folder / "presets" / name), adapter_name=name)
        adapted.set_adapter(name)
        assert torch.allclose(logprobs(adapted), own(steered, condition), atol=1e-4)


def test_an_unchanged_head_stays_tied(tmp_path: Path) -> None:
    steered = policy(PluralSteering(where="attention", rank=2), shaken=0.2, tie_word_embeddings=True)
    folder = folder_of(steered, tmp_path)
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype="float32")
    assert base.config.tie_word_embeddings is True
    assert "lm_head.weight" not in load_file(folder / "base" / "model.safetensors")
    about = json.loads((folder / "objectives" / "kind" / "adapter_config.json").read_text())
    assert sorted(about["target_modules"]) == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_the_manifest_says_what_is_there_and_how_near(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=3, shared_where="attention", shared_rank=2), shaken=0.1)
    found = export_adapters(steered, tmp_path / "out", PRESETS, rank="legal")
    about = json.loads((found.folder / "manifest.json").read_text())
    parts = {part["name"]: part for part in about["parts"]}
    assert list(parts) == ["base", *NAMES, "calm", "short"]
    assert parts["kind"]["rank"] == 8  # 3, or 2 in the trunk, filled up to what vLLM takes
    assert parts["calm"]["rank"] == 8 and about["max_lora_rank"] == 8  # 3 + 3
    assert parts["calm"]["condition"] == {"weights": {"kind": 0.75, "brief": 0.25}, "strength": 1.5}
    assert all(0 <= part["difference"] <= about["allowed_difference"] == 1e-4 for part in parts.values())
    assert about["sums"]["strength_1"] <= 1e-4 and about["sums"]["strength_1.5"] <= 1e-4
    assert found.differences["calm"] == parts["calm"]["difference"]
    assert found.differences["sum of the objectives"] == about["sums"]["strength_1"]
    for part in parts.values():
        assert (found.folder / part["path"]).is_dir()
    card = (found.folder / "presets" / "calm" / "README.md").read_text()
    assert "kind=0.75,brief=0.25 @1.5" in card and "library_name: peft" in card


def test_launch_lines_name_what_is_there(tmp_path: Path) -> None:
    folder = folder_of(policy(PluralSteering(rank=3), shaken=0.2), tmp_path, presets=PRESETS)
    page = (folder / "README.md").read_text()
    paths = set(re.findall(r"(?<![\w.])\./([\w/]+)(?=\s|$|`)", page))
    assert {"base", "objectives/kind", "presets/calm"} <= paths
    assert all((folder / path).exists() for path in paths)
    for line in (
        "vllm serve ./base --served-model-name base --enable-lora \\\n  --max-loras 5 --max-lora-rank 8 \\\n"
        "  --lora-modules kind=./objectives/kind brief=./objectives/brief",
        "python -m sglang.launch_server --model-path ./base",
        "--lora-paths kind=./objectives/kind",
        "llama-server -m ./base/model.gguf --jinja \\\n  --lora-scaled ./objectives/kind/adapter.gguf:0,./objectives/brief",
        '`"lora": [{"id": 0, "scale": 0.7}, {"id": 1, "scale": 0.3}]`',
        "ollama create calm -f ./presets/calm/Modelfile",
    ):
        assert line in page, line
    modelfile = (folder / "presets" / "calm" / "Modelfile").read_text()
    assert modelfile.startswith("FROM ../../base/model.gguf\nADAPTER ./adapter.gguf\nTEMPLATE")


def test_presets_as_whole_models(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank="full"), shaken=0.2)  # no adapter could hold it
    found = export_presets(steered, tmp_path / "out", PRESETS)
    assert set(found.differences) == {"calm", "short"}
    for name, condition in PRESETS.items():
        plain = AutoModelForCausalLM.from_pretrained(found.folder / "presets" / name, dtype="float32")
        assert torch.allclose(logprobs(plain), own(steered, condition), atol=1e-4)
    page = (found.folder / "README.md").read_text()
    assert "vllm serve ./presets/calm --served-model-name calm --port 8000\nvllm serve ./presets/short" in page
    assert "--lora" not in page
    assert not (found.folder / "base").exists()


# -- steerings whose objectives do not add up ----------------------------------------------------------------------


def told(folder: Path) -> tuple[dict[str, float | None], str]:
    return json.loads((folder / "manifest.json").read_text())["sums"], (folder / "README.md").read_text()


def test_where_strength_is_no_multiple_the_page_says_so(tmp_path: Path) -> None:
    sums, page = told(folder_of(policy(PluralKL(rank=2, alpha=0.3), shaken=0.4), tmp_path))
    assert sums["strength_1"] <= 1e-4 < sums["strength_1.5"]  # type: ignore[operator]
    assert "a strength other than 1 is no multiple" in page


def test_distributions_that_are_mixed_are_no_sum_of_weights(tmp_path: Path) -> None:
    sums, page = told(folder_of(policy(MixtureSteering(rank=2), shaken=0.4), tmp_path))
    assert sums == {"strength_1": None, "strength_1.5": None}
    assert "**not** this policy" in page and '"lora": [{"id": 0, "scale": 1.0}]' in page and '"scale": 0.7' not in page


def test_a_front_has_adapters_where_it_has_models(tmp_path: Path) -> None:
    points = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, 0.0))
    steered = policy(FrontSteering(rank=2, points=points), shaken=0.3)
    with pytest.raises(ConditionError, match="no model was trained"):
        folder_of(steered, tmp_path)
    presets = Presets({"half": Weights({"kind": 0.5, "brief": 0.5})})
    found = export_adapters(steered, tmp_path / "out", presets, objectives=False)
    assert set(found.differences) == {"base", "half"} and told(found.folder)[0] is None


# -- what is refused -----------------------------------------------------------------------------------------------


def test_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=2), shaken=0.2)
    for name in ("kind", "KIND", "base"):
        with pytest.raises(ConfigError, match="would be called"):
            export_adapters(steered, tmp_path / "out", Presets({name: Weights({"kind": 1.0})}))
    with pytest.raises(ConfigError, match="no preset to export"):
        export_presets(steered, tmp_path / "out", Presets())
    assert list(tmp_path.iterdir()) == []


def test_a_preset_beyond_the_bounds_is_refused(tmp_path: Path) -> None:
    far = Presets({"far": Weights({"kind": 2.0, "brief": -1.0})})
    steered = policy(PluralSteering(rank=2), shaken=0.2)
    with pytest.raises(ConditionError, match="outside its bound"):
        export_adapters(steered, tmp_path / "out", far)
    wide = Policy(model(config()), Encoder(tokenizer()), PluralSteering(rank=2), OBJECTIVES, Bounds(allow_extrapolation=True))  # fmt: skip
    shake(wide, 0.2)
    assert export_adapters(wide, tmp_path / "out", far).differences["far"] <= 1e-4


def test_an_untrained_policy_has_no_adapters(tmp_path: Path) -> None:
    steered = policy(PluralSteering(rank=2))
    with torch.no_grad():
        for tensor in steered.trainable_state().values():
            tensor.zero_()
    found = export_adapters(steered, tmp_path / "out")  # zeros are a change all the same, and an exact one
    assert max(found.differences.values()) <= 1e-4
    with pytest.raises(ModelError, match="is its base"):
        export_adapters(steered, tmp_path / "two", Presets({"none": Weights({"kind": 1.0}, 0.0)}))
