"""Judges by name: from a file, from key=value, at an endpoint, or a policy's folder."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_server import serving

import made_up
import tiny
from pluralign import api
from pluralign.data import jsonl
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.recipes.judge_file import open_judge
from pluralign.recipes.scorer import open_scorer
from pluralign.sampling.pool import scored
from pluralign.steering.none import NoSteering

ROOT = Path(__file__).parents[2]
KIND = Objective("kind", "friendly", 0, 4)


def record(*replies: str) -> Record:
    return Record(user("tell me a joke"), tuple(Response(text) for text in replies))


def always_three(body: dict[str, Any]) -> str:
    return "3"


def test_a_judge_from_a_file_scores_a_file(tmp_path: Path):
    source = made_up.write(tmp_path / "data.jsonl", made_up.scored(3, replies=2))
    with serving(always_three) as server:
        settings = {
            "form": "ratings",
            "base_url": server.url,
            "model": "m",
            "wait": 0.0,
            "objectives": [KIND.to_json()],
        }
        (tmp_path / "judge.json").write_text(json.dumps(settings))
        for name in ("first", "again"):
            assert api.score(source, tmp_path / f"{name}.jsonl", f"judge:{tmp_path / 'judge.json'}") == 3
        assert len(server.bodies) == len({json.dumps(body) for body in server.bodies}) == 6  # kept beside the file
    (scored, *_) = jsonl.read(tmp_path / "first.jsonl")
    assert scored.responses[0].scores["kind"] == 3.0
    assert "brief" in scored.responses[0].scores
    assert (tmp_path / "judge.answers.jsonl").is_file()


def test_a_judge_from_key_and_value(tmp_path: Path):
    with serving(always_three) as server:
        judge = open_scorer(f"judge:form=ratings,objectives=kind+warm,base_url={server.url},model=m,retries=0")
        (found,) = judge.score([record("a")])
    assert found.responses[0].scores == {"kind": 3.0, "warm": 3.0}


def test_a_policy_folder_as_a_judge(tmp_path: Path):
    folder = tiny.policy(NoSteering(), max_position_embeddings=512).save(tmp_path / "policy")
    (found,) = open_scorer(f"judge:form=pairs,policy={folder}").score([record("good", "nice")])
    assert len(found.comparisons) in (0, 1)
    model = made_up.words_model(tmp_path / "model")
    (found,) = open_scorer(f"judge:form=pairs,policy={model}").score([record("good", "good")])
    assert found.comparisons[0].outcome == "tie"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("form=poem,policy=x", "one of words, ratings, text, pairs"),
        ("form=pairs,polcy=x", "has no 'polcy'"),
        ("form=pairs", "give one"),
        ("form=pairs,policy=x,base_url=http://y", "give one"),
        ("form=pairs,policy=x,model=m", "only an endpoint"),
        ("form=pairs,base_url=http://y,model=m,steer=kind=1", "steer is for a policy"),
        ("form=pairs,base_url=http://y,model=m,retries=many", "retries"),
        ("form=pairs,base_url=y,model=m", "http://"),
        ("form=pairs,base_url=http://y", "model"),
        ("form=pairs,order=none,policy=x", "order"),
        ("form=words,words=good,policy=x", "at least two different words"),
        ("form=ratings,policy=x", "objectives"),
        ("pairs", "cannot read 'pairs'"),
    ],
)
def test_what_is_wrong_with_a_judge(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        open_judge(text)


def test_a_file_that_is_no_judge(tmp_path: Path):
    (tmp_path / "judge.json").write_text("[]")
    with pytest.raises(ConfigError, match="one JSON object"):
        open_judge(str(tmp_path / "judge.json"))
    with pytest.raises(DataError, match="cannot be read"):
        open_judge(str(tmp_path / "none.json"))


JUDGES = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "scorers.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("place", range(len(JUDGES)))
def test_the_judges_of_the_page_open(place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", "secret-word")
    (tmp_path / "judge.json").write_text(JUDGES[place])
    judge = open_scorer(f"judge:{tmp_path / 'judge.json'}")
    assert judge.objectives


def test_a_judge_that_stops_in_between_goes_on(tmp_path: Path):
    """The pool keeps what was judged; a second call asks for the rest only (methods in rounds rely on it)."""
    records = [replace(record(f"reply {n}"), id=str(n)) for n in range(6)]
    with serving(always_three, faults=()) as server:
        text = f"form=ratings,objectives=kind,base_url={server.url},model=m,retries=0,concurrency=1,wait=0"

        def rate(body: dict[str, Any]) -> str:
            server.always = 500 if len(server.bodies) == 4 else None
            return "3"

        server.rule = rate
        with pytest.raises(RunError, match="no answer"):
            scored(tmp_path / "scored.jsonl", records, open_judge(text), (KIND,))
        server.always = None
        server.rule = always_three
        before = len(server.bodies)
        found = scored(tmp_path / "scored.jsonl", records, open_judge(text), (KIND,))
        assert [r.responses[0].scores for r in found] == [{"kind": 3.0}] * 6
        assert [r.id for r in found] == list("012345")
        assert len(server.bodies) - before == 2
