"""Every method runs end to end on a tiny model: train, save, load, the same log-probabilities; settings round-trip."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import made_up
from pluralign import api, settings
from pluralign.data.condition import one_hot
from pluralign.data.record import user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import Method
from pluralign.methods.dpo import Dpo
from pluralign.methods.sft import Sft
from pluralign.methods.steps.online import Sampling
from pluralign.methods.steps.rounds import Rounds
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.steering.contrastive import ContrastiveSteering
from pluralign.steering.vectors import VectorSteering
from pluralign.training.optim import Optim

SHORT = Optim(steps=4, batch_size=4, lr=5e-3, head_lr=5e-3, warmup=1)
RECIPES = [(method, name) for method in api.method_names() for name in api.recipe_names(method)]
SCORERS = {"reward"}  # no policies: see test_rewarding.py
SEARCHING = {"bon", "darwin", "opo"}  # train nothing: see test_bon.py, test_darwin.py, test_opo.py
ONE_OBJECTIVE = {"dera"}
FEW = {"online": SHORT, "samples": 6, "iterations": 1, "decoding": Decoding(max_new_tokens=6)}
ROUNDS = {"online": SHORT, "samples": 4, "replies": 2, "rounds": 1, "decoding": Decoding(max_new_tokens=6)}
EXTRA: dict[str, dict[str, Any]] = {"dpo": {"objective": "kind"}, "sft": {"epochs": None}, "ric": FEW, "dpa": ROUNDS}
EXTRA["steerlm"] = {"attribute_optim": SHORT}
EXTRA["steerlm2"] = {
    "attribute_optim": SHORT,
    "first_optim": SHORT,
    "iterations": 1,
    "decoding": Decoding(max_new_tokens=40),
}
EXTRA["cpo"] = {"sft_optim": SHORT}
EXTRA["contrastive"] = {"steering": ContrastiveSteering(plausibility=0.0)}  # random words are never plausible

DRAWN = Rounds(num=1, prompts=3, replies=2, from_data=True, decoding=Decoding(max_new_tokens=6))
EXTRA |= {"alt": {"epochs": None, "rounds": DRAWN}, "quark": {"rounds": DRAWN}, "hindsight": {"epochs": None}}

SAMPLED: dict[str, Any] = {
    "sampling": Sampling(prompts_per_step=2, replies_per_prompt=2, max_new_tokens=6, num_reference=8)
}
EXTRA |= dict.fromkeys(("morlhf", "constrained", "maxmin", "clp"), SAMPLED)
EXTRA |= {"ppo": {**SAMPLED, "weights": "kind=1"}, "rloo": {**SAMPLED, "objective": "kind"}}
EXTRA |= {"bonbon": {"decoding": Decoding(max_new_tokens=6)}, "rahf": {"sides": SHORT, "layers": (0,)}}
EXTRA["vectors"] = {"steering": VectorSteering((0,))}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.words_model(tmp_path_factory.mktemp("base") / "model")


def short(name: str, recipe: str = "default") -> Method:
    made = api.recipe(name, recipe)
    trains = {"optim": SHORT} if hasattr(made, "optim") else {}
    return dataclasses.replace(made, **trains, **EXTRA.get(name, {}))  # type: ignore[type-var]


@pytest.mark.parametrize("name", [name for name in api.method_names() if name not in SCORERS | SEARCHING])
def test_every_method_trains_saves_and_loads(name: str, base: Path, tmp_path: Path) -> None:
    data = made_up.write(tmp_path / "data.jsonl", made_up.scored(12))
    one = ("kind",) if name in ONE_OBJECTIVE else ()
    options = api.TrainOptions(
        data=data, model=str(base), out=tmp_path / "run", validation=data, objectives=one, scorer="made_up:Rule"
    )
    policy = api.train(short(name), options)
    again = api.load_policy(tmp_path / "run")
    condition = one_hot("kind") if policy.steering.accepts else None
    texts = ["good joke", "very short and nice"]
    values = [p.logprobs([user("a joke")] * 2, texts, [condition] * 2) for p in (policy, again)]
    torch.testing.assert_close(values[0], values[1], atol=0, rtol=0)
    untrained = Policy.from_base(base, dataclasses.replace(policy.steering), policy.objectives)  # type: ignore[type-var]
    asked = None if policy.helpers else condition  # without its helpers a policy answers nothing else
    assert not torch.equal(values[0], untrained.logprobs([user("a joke")] * 2, texts, [asked] * 2))
    assert policy.lineage["method"] == name
    assert policy.lineage["data"][0]["records"] == 12
    assert again.encoder.max_length == 64  # none was given: the model's context


@pytest.mark.parametrize("name", api.method_names())
def test_every_method_is_described(name: str) -> None:
    assert len(api.about_method(name)) > 20
    assert dataclasses.is_dataclass(api.method_class(name))
    assert api.method_id(api.recipe(name)) == name
    assert api.method_class(name).facts.feedback


@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_settings_round_trip(name: str, recipe: str) -> None:
    made = api.recipe(name, recipe)
    plain = settings.to_json(made)
    assert settings.from_json(type(made), plain) == made
    if "optim" in plain:
        changed = dataclasses.replace(made, optim=Optim(betas=(0.5, 0.6), clip_norm=0.5))  # type: ignore[type-var]
        assert settings.from_json(type(made), settings.to_json(changed)) == changed
    with pytest.raises(ConfigError, match="has no settings sparkle"):
        settings.from_json(type(made), {**plain, "sparkle": 1})
    if "loss" in plain:
        with pytest.raises(ConfigError, match="'Nonsense' stand where"):
            settings.from_json(type(made), {**plain, "loss": {"is": "Nonsense"}})


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'nothing'; known are: alt, "):
        api.recipe("nothing")
    with pytest.raises(ConfigError, match=r"no recipe .best.; there are: default, .*thesis, thesis_scaled"):
        api.recipe("cmpo", "best")
    with pytest.raises(ConfigError, match="unknown method 'lab_job'"):
        api.recipe("lab_job", "make_pool")


def test_dpo_asks_for_an_objective_and_prefers_by_it(base: Path, tmp_path: Path) -> None:
    made = dataclasses.replace(short("dpo"), objective="")  # type: ignore[type-var]
    data = made_up.write(tmp_path / "data.jsonl", made_up.compared(20))
    with pytest.raises(ConfigError, match="choose with --objective from kind, brief"):
        api.train(made, api.TrainOptions(data=data, model=str(base), out=tmp_path / "run"))
    only = api.TrainOptions(data=data, model=str(base), out=tmp_path / "run", objectives=("brief",))
    longer = Optim(steps=40, batch_size=8, lr=1e-2)
    policy = api.train(dataclasses.replace(made, optim=longer), only)  # type: ignore[type-var]
    report = api.evaluate(policy, api.load_data(data))
    rows = {row["objective"]: row for row in report.preferences}
    assert rows["brief"]["implicit_reward"] > 0.75


def test_dpo_without_a_difference_says_so(tmp_path: Path, base: Path) -> None:
    flat = [dataclasses.replace(r, responses=(r.responses[0],)) for r in made_up.scored(3)]
    data = made_up.write(tmp_path / "data.jsonl", flat)
    with pytest.raises(DataError, match="no pair of replies differs on 'kind'"):
        api.train(Dpo(objective="kind"), api.TrainOptions(data=data, model=str(base), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_class_is_named_by_its_module(base: Path, tmp_path: Path) -> None:
    data = made_up.write(tmp_path / "data.jsonl", made_up.scored(6))
    made = Imitate(epochs=None, optim=Optim(steps=1, batch_size=2))
    api.train(made, api.TrainOptions(data=data, model=str(base), out=tmp_path / "run"))
    found, options = api.settings_of_run(tmp_path / "run")
    assert found == made
    assert options["model"] == str(base)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imitate(Sft):
    """A method from outside the package."""
