"""ALT: feedback of every kind becomes words, rounds go on where they stopped, a policy learns to earn what it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import made_up
from pluralign.data import jsonl
from pluralign.data.condition import Feedback, Targets, Weights, one_hot
from pluralign.data.record import Comment, Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.losses.conditional import Conditional
from pluralign.methods.alt import Alt
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.rounds import Rounds
from pluralign.methods.steps.wording import Wording
from pluralign.policy import Policy
from pluralign.recipes import alt as recipes
from pluralign.sampling.local import Decoding, sample
from pluralign.steering.prompt.words import PromptWords
from pluralign.training.optim import Optim
from pluralign.training.run import Run

OBJECTIVES = made_up.OBJECTIVES
SHORT = Optim(steps=4, batch_size=8, lr=3e-3, warmup=1)
DRAWN = Rounds(num=1, prompts=3, replies=4, from_data=True, decoding=Decoding(max_new_tokens=8))
OFFLINE = Rounds(num=0, from_data=True)
WORDS = PromptWords(shared_where=None, levels=("very", "short", "long"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.words_model(tmp_path_factory.mktemp("base") / "model")


def small(**settings: object) -> Alt:
    return replace(Alt(loss=Conditional(), optim=SHORT, epochs=None, rounds=DRAWN, steering=WORDS), **settings)  # type: ignore[arg-type]


def train(method: Alt, base: Path, folder: Path, records: list[Record], scorer: object = None, **how: bool) -> Policy:
    policy = Policy.from_base(base, method.new_steering(OBJECTIVES), OBJECTIVES)
    data = TrainingData(records, OBJECTIVES, scorer=scorer)  # type: ignore[arg-type]
    with Run(folder, **how) as run:  # type: ignore[arg-type]
        return method.train(policy, data, run)


def test_it_learns_to_earn_the_words_it_is_told(base: Path, tmp_path: Path) -> None:
    """Brief is 8 minus the number of words: asked for the best of it, replies are shorter than for the worst."""
    method = small(
        optim=Optim(steps=100, batch_size=32, lr=1e-2, warmup=5),
        rounds=OFFLINE,
        wording=Wording(each=None, scope="global"),
    )
    policy = train(method, base, tmp_path / "run", made_up.scored(60, 4))
    prompts = [Record(user("tell me a joke"))]
    decoding = Decoding(max_new_tokens=12)

    def length(condition: Feedback | Weights | Targets) -> float:
        replies = sample(policy, prompts, condition, 60, 1, decoding)[0].responses
        return float(np.mean([len(reply.text.split()) for reply in replies]))

    asked = [Feedback("brief very"), one_hot("brief"), Feedback("brief long"), Targets({"brief": 0.0})]
    shortest, by_weight, longest, by_target = map(length, asked)
    assert max(shortest, by_weight) + 2 < min(longest, by_target)


def test_a_run_that_broke_down_asks_and_draws_nothing_twice(base: Path, tmp_path: Path) -> None:
    records = made_up.scored(8, 4)
    method = small(rounds=replace(DRAWN, num=2, drop=0.5))
    whole = train(method, base, tmp_path / "whole", records, made_up.Breaking())

    broken = made_up.Breaking(fails=17)  # in the second round: each has 3 prompts of 4 replies
    with pytest.raises(RuntimeError, match="the judge is gone"):
        train(method, base, tmp_path / "run", records, broken)
    pools = tmp_path / "run" / "stages"
    before = (pools / "pool-2" / "sampled.jsonl").read_bytes()
    second = made_up.Breaking()
    policy = train(method, base, tmp_path / "run", records, second, resume=True)
    assert broken.asked + second.asked == 24
    assert (pools / "pool-2" / "sampled.jsonl").read_bytes() == before
    for name, tensor in whole.trainable_state().items():
        assert torch.equal(tensor, policy.trainable_state()[name])
    assert policy.steering == whole.steering
    # drawn without feedback in no round, since it began with the data: every reply carries its exemplar
    drawn = [reply for record in jsonl.read(pools / "pool-1" / "scored.jsonl") for reply in record.responses]
    assert len(drawn) == 12 and all(isinstance(reply.condition, Feedback) for reply in drawn)


def test_the_first_round_draws_from_the_base_without_feedback(base: Path, tmp_path: Path) -> None:
    """D is empty at first, and `drop` 1 empties it again; the best exemplar is one phrase."""
    method = small(
        rounds=replace(DRAWN, num=2, from_data=False), exemplars="best", loss=Conditional(beta=0.05, alpha=0.06)
    )
    policy = train(method, base, tmp_path / "run", made_up.scored(3), made_up.Rule())
    rounds = [list(jsonl.read(tmp_path / "run" / "stages" / f"pool-{n}" / "scored.jsonl")) for n in (1, 2)]
    first, second = ([reply for record in records for reply in record.responses] for records in rounds)
    assert [reply.condition for reply in first] == [None] * 12
    assert len({reply.condition for reply in second}) == 1 and second[0].condition is not None
    assert policy.reference is not policy
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert '"kl"' in metrics and '"fit-2"' in metrics


def test_every_word_is_learnt_equally_often() -> None:
    """Two replies of each word, objective and prompt (all records ask the same); the other objective is said by chance."""
    steering = replace(WORDS)
    wording = Wording(unasked=0.25, spoken=0.5)
    groups = wording.read(made_up.scored(40, 4), OBJECTIVES, steering, seed=0)
    assert len(groups) == 2 * 3 * 2
    many = [group for seed in range(60) for group in wording.read(made_up.scored(10), OBJECTIVES, replace(WORDS), seed)]
    asked = Counter(group.conditions[0] is None for group in many)
    assert 0.2 < asked[True] / len(many) < 0.3
    said = [group.conditions[0].text for group in many if group.conditions[0]]  # type: ignore[union-attr]
    both = sum("," in text for text in said) / len(said)
    assert 0.4 < both < 0.6
    words = Counter(text.removeprefix("kind ") for text in said if text.startswith("kind") and "," not in text)
    assert set(words) == {"very", "short", "long"}
    assert max(words.values()) < 1.6 * min(words.values())
    assert "kind very" in steering.phrases and steering.measured


CATEGORIES = PromptWords(shared_where=None, levels=("nice and helpful", "nice", "long"))


def told(record: Record, texts: list[str]) -> Record:
    replies = zip(record.responses, texts, strict=True)
    return replace(record, responses=tuple(replace(reply, comments=(Comment(text),)) for reply, text in replies))


def test_a_judges_categories() -> None:
    """Categories in any capitals; what is none of them is no feedback. Without scores their order is their worth."""
    bare = Record(user("a joke"), (Response("good"), Response("kind"), Response("very long")))
    pool = [told(bare, ["Nice", "I cannot say", "LONG"])]
    steering = replace(CATEGORIES)
    groups = Wording(kind="categories", unasked=0.0).read(pool, OBJECTIVES, steering, seed=0)
    assert {(group.responses[0], group.conditions[0].text) for group in groups} == {
        ("good", "nice"),
        ("very long", "long"),
    }  # type: ignore[union-attr]
    assert steering.translate(one_hot("kind"), OBJECTIVES).text == "nice"
    worth = np.array(steering.worth).reshape(2, 2)
    assert worth.tolist() == [[0.5, 0.5], [0.0, 0.0]]
    with pytest.raises(DataError, match="one of nice and helpful, nice, long among its comments"):
        Wording(kind="categories").read([told(bare, ["no"] * 3)], OBJECTIVES, steering, seed=0)
    with pytest.raises(DataError, match="scores; score or annotate"):
        Wording().read([bare], OBJECTIVES, steering, seed=0)


def test_comments_as_they_are() -> None:
    """Free words, balanced by the score; weights ask for what was said of the reply that serves them best."""
    record = made_up.scored(1, 3)[0]
    replies = [
        replace(r, scores={"kind": k, "brief": b})
        for r, k, b in zip(record.responses, (4, 0, 1), (0, 8, 2), strict=True)
    ]
    steering = replace(WORDS)
    pool = [told(replace(record, responses=tuple(replies)), ["so kind", "so short", "neither"])]
    groups = Wording(kind="comments", unasked=0.0, each=None).read(pool, OBJECTIVES, steering, seed=0)
    assert {group.conditions[0].text for group in groups} == {"so kind", "so short", "neither"}  # type: ignore[union-attr]
    assert steering.translate(one_hot("kind"), OBJECTIVES).text == "so kind"
    assert steering.translate(one_hot("brief"), OBJECTIVES).text == "so short"
    assert "neither" not in steering.phrases


@dataclass
class Judge:
    """Gives a category to every reply: nice where it says so, else long; and fails on replies of one word."""

    objectives = ()

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            words = [
                "" if len(r.text.split()) < 2 else "nice" if "nice" in r.text else "long" for r in record.responses
            ]
            pairs = zip(record.responses, words, strict=True)
            yield replace(
                record, responses=tuple(replace(r, comments=(Comment(word),) if word else ()) for r, word in pairs)
            )


def test_a_judge_of_words_alone_runs_the_rounds(base: Path, tmp_path: Path) -> None:
    method = small(
        rounds=replace(DRAWN, from_data=False, num=2, replies=12),
        wording=Wording(kind="categories"),
        steering=PromptWords(shared_where=None, levels=("nice", "long")),
    )
    policy = train(method, base, tmp_path / "run", made_up.scored(3), Judge())
    asked = [
        reply.condition
        for record in jsonl.read(tmp_path / "run/stages/pool-2/scored.jsonl")
        for reply in record.responses
    ]
    assert {condition.text for condition in asked} == {"nice", "long"}  # type: ignore[union-attr]
    assert policy.steering.translate(one_hot("brief"), OBJECTIVES).text == "nice"


def test_settings_act_or_raise(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alt lets the policy answer"):
        train(small(), base, tmp_path / "run", made_up.scored(3))
    for wrong in ({"num": 0}, {"num": -1}, {"drop": 1.5}, {"prompts": 0}):
        with pytest.raises(ConfigError):
            Rounds(**wrong)  # type: ignore[arg-type]
    for bad in ({"spoken": 2.0}, {"unasked": -0.1}, {"support": 0}, {"each": 0}):
        with pytest.raises(ConfigError):
            Wording(**bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="epochs"):
        Alt(epochs=0.0)


def test_the_papers_numbers() -> None:
    """A14: K = 5 words, 2 of each per prompt, 2048 x 96, the pool emptied; toxicity keeps it, with β .05 and α .06."""
    paper, toxicity, dialogue = recipes.paper(), recipes.toxicity(), recipes.dialogue()
    assert (paper.rounds.num, paper.rounds.prompts, paper.rounds.replies, paper.rounds.drop) == (10, 2048, 96, 1.0)
    assert (paper.wording.each, paper.wording.scope, len(paper.steering.levels)) == (2, "prompt", 5)
    assert (toxicity.rounds.num, toxicity.rounds.drop, toxicity.loss) == (16, 0.0, Conditional(0.05, 0.06, "forward"))
    assert (dialogue.rounds.num, dialogue.rounds.replies, dialogue.wording.kind) == (20, 20, "categories")
