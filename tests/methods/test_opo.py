"""OPO: files of norms make a policy, a judge sees them, and what was judged is not judged again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import made_up
import tiny
from pluralign import api
from pluralign.data import jsonl
from pluralign.data.condition import Feedback
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData, as_policy
from pluralign.methods.opo import Opo
from pluralign.policy import Policy
from pluralign.recipes.file_job import TrainOptions, train
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.norms import PromptNorms
from pluralign.training.run import Run

SHORT = Decoding(max_new_tokens=6)


class Keeps:
    """Says by how many words a reply keeps the norms that it was shown."""

    objectives = (Objective("compliant", high=100),)

    def __init__(self) -> None:
        self.seen: list[Record] = []

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.seen.append(record)
            system = record.messages[0].content.split()
            replies = tuple(
                dataclasses.replace(r, scores={"compliant": float(sum(word in system for word in r.text.split()))})
                for r in record.responses
            )
            yield dataclasses.replace(record, responses=replies)


def stores(folder: Path) -> tuple[str, ...]:
    made_up.lines(folder / "manners.jsonl", {"text": "kind and nice", "source": "book"}, {"text": "please"})
    (folder / "length.txt").write_text("short\nnot long\n")
    return str(folder / "manners.jsonl"), str(folder / "length.txt")


def follow(method: Opo, folder: Path, scorer: Keeps | None, resume: bool = False) -> Policy:
    steering = method.new_steering(tiny.OBJECTIVES)
    policy = tiny.policy(steering, max_position_embeddings=128)
    prompts = [Record((Message("system", "now"), *user(f"tell me a joke {n}")), id=str(n)) for n in range(3)]
    with Run(folder, resume=resume) as run:
        return method.train(policy, TrainingData(prompts, tiny.OBJECTIVES, scorer=scorer), run)


def test_a_judge_sees_the_norms_and_says_how_they_are_kept(tmp_path: Path) -> None:
    judge, method = Keeps(), Opo(stores=stores(tmp_path), decoding=SHORT)
    policy = follow(method, tmp_path / "run", judge)
    assert isinstance(policy.steering, PromptNorms) and policy.steering.stores == ["manners", "length"]
    assert len(judge.seen) == 2 * 2 * 3  # stores, with and without, prompts
    for record in judge.seen[:6]:
        said, question = record.messages
        assert said.role == "system" and said.content.endswith("2. please\n\nnow") and question.role == "user"
    with Run(tmp_path / "run", resume=True) as run:
        result = run.stage("compliance-0").result
    expected = [record.responses[0].text.split() for record in judge.seen[:3]]
    words = judge.seen[0].messages[0].content.split()
    assert result["with"]["compliant"] == pytest.approx(sum(w in words for each in expected for w in each) / 3)
    assert set(result) == {"with", "without"}
    again = Keeps()
    follow(method, tmp_path / "run", again, resume=True)
    assert not again.seen


def test_from_the_command_line_to_an_answer(tmp_path: Path) -> None:
    """Trained without a scorer, saved with its norms, asked by a store's name and by shares of stores."""
    made_up.words_model(tmp_path / "model")
    jsonl.write(tmp_path / "prompts.jsonl", made_up.scored(3, 1), made_up.OBJECTIVES)
    made_up.lines(tmp_path / "kind.jsonl", {"text": "nice"})
    made_up.lines(tmp_path / "brief.jsonl", {"text": "short"})
    files = (str(tmp_path / "kind.jsonl"), str(tmp_path / "brief.jsonl"))
    options = TrainOptions(data=tmp_path / "prompts.jsonl", model=str(tmp_path / "model"), out=tmp_path / "run")
    train(Opo(stores=files, steering=PromptNorms(num=2)), options)
    policy = api.load_policy(tmp_path / "run")
    for steer in ("kind", "kind=.5,brief=.5", '"kind, brief" @1.5'):
        assert len(api.sample(policy, ["a joke"], steer, max_new_tokens=4)[0]) == 1
    assert policy.logprobs([user("a joke")], ["nice"], [Feedback("kind")]) != policy.logprobs(
        [user("a joke")], ["nice"]
    )


def test_the_lab_can_be_asked_by_weights(tmp_path: Path) -> None:
    """Its model follows no instructions: that every weight is answered is all that is claimed."""
    from pluralign import lab
    from pluralign.recipes.registry import recipe

    method = recipe("opo", "lab")
    policy = Policy.from_base(lab.base_path("nano"), method.new_steering(lab.objectives), lab.objectives)
    with Run(tmp_path / "run") as run:
        policy = as_policy(method.train(policy, TrainingData([], lab.objectives, scorer=lab.ExactScorer()), run))
    text = next(iter(lab.prompts("test"))).messages[0].content
    assert all(api.sample(policy, [text], steer, max_new_tokens=8)[0] for steer in ("funny=1", "warm=.5,formal=.5"))


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    manners, _ = stores(tmp_path)
    with pytest.raises(ConfigError, match="not told apart"):
        Opo(stores=(manners, manners)).new_steering(())
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        Opo(stores=("nowhere.txt",)).new_steering(())
    with pytest.raises(ConfigError, match="--stores"):
        follow(Opo(), tmp_path / "run", None)
