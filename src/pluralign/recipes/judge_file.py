"""A judge from a JSON file, or from key=value: who is asked, what is asked, and where answers are kept.

    {"form": "ratings", "objectives": [{"name": "kind", "low": 0, "high": 4}],
     "base_url": "http://localhost:8000/v1", "model": "a-judge", "key_variable": "JUDGE_KEY"}
    form=pairs,policy=runs/judge,order=both

Keys are those of the endpoint (`scorers/endpoint.py`) or `policy` (a policy's folder or run, or a base model) with
`steer`; those of the form (`scorers/forms.py`, `scorers/pairs.py`); and `cache`, a file of answers (none: beside a JSON
file, in FILE.answers.jsonl).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.data.condition import parse
from pluralign.data.objective import Objective
from pluralign.errors import ConfigError
from pluralign.storage import read_json

if TYPE_CHECKING:
    from pluralign.scorers.asking import Ask
    from pluralign.scorers.forms import Form
    from pluralign.scorers.judge import Judge

_OWN = ("form", "policy", "steer", "cache")
_LISTS = ("words", "objectives", "about")


def open_judge(text: str, device: str = "cpu") -> Judge:
    """The judge of FILE.json or of key=value,key=value (lists with +). Raises ConfigError naming what is wrong."""
    from pluralign.scorers.asking import Remembered
    from pluralign.scorers.judge import Judge

    path = Path(text) if text.endswith(".json") else None
    given = read_json(path) if path is not None else _pairs(text)
    if not isinstance(given, Mapping):
        raise ConfigError(f"a judge's file holds one JSON object, {path} holds {type(given).__name__}")
    form = _form(given)
    ask = _ask(given, device)
    cache = given.get("cache")
    kept = Path(str(cache)) if cache is not None else path and path.with_suffix(".answers.jsonl")
    return Judge(Remembered(ask, kept), form)


def _pairs(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(","):
        key, sign, value = part.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"a judge is FILE.json or key=value,key=value; cannot read {part!r}")
        found[key.strip()] = value.split("+") if key.strip() in _LISTS else value
    return found


def _form(given: Mapping[str, Any]) -> Form:
    from pluralign.scorers.endpoint import Endpoint
    from pluralign.scorers.forms import FreeText, Ratings, Words
    from pluralign.scorers.pairs import Pairs

    kinds: dict[str, Any] = {"words": Words, "ratings": Ratings, "text": FreeText, "pairs": Pairs}
    kind = kinds.get(str(given.get("form")))
    if kind is None:
        raise ConfigError(f"a judge's form is one of {', '.join(kinds)}, got {given.get('form')!r}")
    own, asked = (_names(cls) for cls in (kind, Endpoint))
    unknown = sorted(set(given) - {*own, *asked, *_OWN})
    if unknown:
        raise ConfigError(
            f"a judge of form {given['form']} has no {unknown[0]!r}; allowed are {', '.join([*_OWN, *own, *asked])}"
        )
    chosen = {name: given[name] for name in own if name in given}
    for name in ("objectives", "about"):
        if name in chosen:
            chosen[name] = [_objective(item) for item in chosen[name]]
    if kind is FreeText and "objective" in chosen:
        chosen["objective"] = _objective(chosen["objective"])
    return _checked(kind, chosen)


def _ask(given: Mapping[str, Any], device: str) -> Ask:
    from pluralign.scorers.endpoint import Endpoint

    chosen = {name: given[name] for name in _names(Endpoint) if name in given}
    if ("policy" in given) == ("base_url" in given):
        raise ConfigError(
            "a judge is asked at an endpoint (base_url and model) or is a policy's folder (policy): give one"
        )
    if "policy" not in given:
        if "steer" in given:
            raise ConfigError("steer is for a policy; an endpoint cannot be asked for a condition")
        return _checked(Endpoint, chosen)
    if chosen:
        raise ConfigError(f"{', '.join(chosen)}: only an endpoint has these, and this judge is a policy")
    return _policy(str(given["policy"]), given.get("steer"), device)


def _policy(folder: str, steer: str | None, device: str) -> Ask:
    from pluralign.lab.shipped import base_path
    from pluralign.policy import Policy
    from pluralign.sampling.engine import context
    from pluralign.scorers.policy_ask import PolicyAsk
    from pluralign.steering.none import NoSteering

    inner = Path(folder) / Policy.folder_name
    for path in (inner, Path(folder)):
        if (path / "policy.json").is_file():
            policy = Policy.load(path, device=device)
            return PolicyAsk(policy, None if steer is None else policy.check(parse(steer)))
    if steer is not None:
        raise ConfigError(f"{folder} is no policy, so it cannot be asked for {steer!r}")
    base = str(base_path("base" if folder == "lab" else folder)) if folder in ("lab", "nano") else folder
    plain = Policy.from_base(base, NoSteering(shared_where=None), (), device=device)
    plain.encoder.max_length = context(plain)
    return PolicyAsk(plain)


def _objective(value: Any) -> Objective:
    if isinstance(value, str):
        return Objective(value, low=0, high=4)
    return Objective.from_json(value)


def _names(cls: Any) -> list[str]:
    return [each.name for each in dataclasses.fields(cls)]


def _checked(cls: Any, values: Mapping[str, Any]) -> Any:
    """The class with its fields, texts read as numbers where numbers are meant. Raises ConfigError."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        reason = first.get("ctx", {}).get("error")
        if isinstance(reason, ConfigError):
            raise reason from error
        where = ".".join(str(part) for part in first["loc"] if part != cls.__name__)
        raise ConfigError(f"judge: {where}: {first['msg']}" if where else f"judge: {first['msg']}") from error
