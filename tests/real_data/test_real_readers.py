"""Every real file is recognised by itself and gives what its README counts; these are files that nobody here made."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pluralign.data.condition import Weights
from pluralign.data.dataset import Dataset, Tally
from pluralign.data.join import joined
from pluralign.data.readers import registry
from pluralign.data.record import Rater, Record
from pluralign.data.record_json import from_json, to_json

pytestmark = pytest.mark.real_data

FILES = {
    "summeval/ratings": ("summeval", 840, 840),
    "dialogue_ratings/ratings": ("dialogue_ratings", 360, 360),
    "critiques/critiques": ("critiques", 993, 993),
    "hh_pairs/pairs": ("hh_pairs", 3455, 6910),
    "domain_preference/responses": ("domain_preference", 661, 661 * 5),
    "ranked_replies/ranked": ("ranked_replies", 207, 624),
    "offensiveness_raters/ratings": ("rater_table", 5338, 5338),
    "polis/comments": ("polis_comments", 881, 881),
    "polis/votes": ("polis_votes", 2977, 266_684),
    "global_opinions/opinions": ("global_opinions", 5752, 21_798),
    "moral_choices/scenarios": ("moral_choices", 1023, 2046),
    "policy_questions/questions": ("policy_questions", 5645, 11_290),
    "persona_statements/statements": ("persona_statements", 18_200, 36_400),
    "personality_items/items": ("personality_items", 1109, 5545),
    "toxicity_prompts/prompts": ("toxicity_prompts", 3534, 0),
}


def opened(folder: Path, name: str) -> Dataset:
    return registry.read(folder / f"{name}.jsonl.gz")


def raw(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_every_table_of_the_folder_is_here(real_data: Path) -> None:
    found = {path.relative_to(real_data).as_posix() for path in real_data.glob("*/*.jsonl.gz")}
    assert found == {f"{name}.jsonl.gz" for name in FILES}


LONG = {"polis/votes"}  # a record for each of 266 684 votes


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in FILES]
)
def test_rows_and_replies(real_data: Path, name: str) -> None:
    reader, num_rows, num_replies = FILES[name]
    dataset, tally = opened(real_data, name), Tally()
    replies = sum(len(record.responses) for record in dataset.records(tally))
    assert (dataset.reader, tally.read, tally.kept, replies) == (reader, num_rows, num_rows, num_replies)
    assert dataset.licence and dataset.source
    for record in islice(dataset, 0, None, max(1, num_rows // 40)):
        assert from_json(json.loads(json.dumps(to_json(record))), dataset.objectives) == record
        assert record.id


@pytest.mark.parametrize("name", ["tinyshakespeare/input.txt", "fairy_tales/grimm.txt"])
def test_lines_of_plain_text_are_prompts(real_data: Path, name: str) -> None:
    lines = (real_data / name).read_text(encoding="utf-8-sig").split("\n")
    assert registry.read(real_data / name, "prompts").count().kept == sum(bool(line.strip()) for line in lines)


def test_summaries_keep_eight_raters_each(real_data: Path) -> None:
    records = list(opened(real_data, "summeval/ratings"))
    groups = Counter(one.rater and one.rater.group for each in records for one in each.responses[0].ratings)
    assert groups == {"expert": 840 * 3, "crowd": 840 * 5}
    assert len({record.messages for record in records}) == 70
    assert len({record.responses[0].model for record in records}) == 12
    for record in records:
        (reply,) = record.responses
        for name, mean in reply.scores.items():
            experts = [one.scores[name] for one in reply.ratings if one.rater == Rater(group="expert")]
            assert mean == pytest.approx(sum(score or 0 for score in experts) / 3, abs=1e-4)


def test_dialogues_are_answered_after_the_user(real_data: Path) -> None:
    records = list(opened(real_data, "dialogue_ratings/ratings"))
    assert len({record.messages for record in records}) == 60
    for record, row in zip(records, raw(real_data, "dialogue_ratings/ratings"), strict=True):
        said = [line.strip() for line in row["prompt"].split("\n") if line.strip()]
        assert [turn.content for turn in record.messages] == said
        assert record.messages[-1].role == "user" and record.extra["fact"] == row["fact"]
        assert dict(record.responses[0].scores) == row["ratings"]


def test_domains(real_data: Path) -> None:
    rows = raw(real_data, "domain_preference/responses")
    records = list(opened(real_data, "domain_preference/responses"))
    different = sum(a != b for row in rows for a in row["responses"].values() for b in row["responses"].values())
    assert sum(len(record.comparisons) for record in records) == different < 661 * 20
    wins = Counter(said.objective for record in records for said in record.comparisons)
    assert set(wins) == {"academy", "business", "entertainment", "literature", "normal"}
    for record, row in zip(records, rows, strict=True):
        assert {str(one.condition): one.text for one in record.responses} == {
            str(Weights({name: 1})): words for name, words in row["responses"].items()
        }
        for said in record.comparisons:
            winner = record.responses[said.first]
            assert said.outcome == "first" and winner.condition == Weights({str(said.objective): 1.0})


def test_ranked_replies(real_data: Path) -> None:
    for record, row in zip(
        opened(real_data, "ranked_replies/ranked"), raw(real_data, "ranked_replies/ranked"), strict=True
    ):
        (ranking,) = record.rankings
        best_first = sorted(row["replies"], key=lambda reply: reply["rank"])
        assert [record.responses[tier[0]].text for tier in ranking.tiers] == [reply["text"] for reply in best_first]
        assert len(record.messages) == len(row["history"])


def test_raters_with_demographics(real_data: Path) -> None:
    dataset = opened(real_data, "offensiveness_raters/ratings")
    ratings = [rating for record in dataset for reply in record.responses for rating in reply.ratings]
    assert len({rating.rater.id for rating in ratings if rating.rater}) == 131
    assert len({record.id for record in dataset}) == 1218
    fields = {"gender", "race", "age", "occupation", "education"}
    assert all(rating.rater and set(rating.rater.demographics) == fields for rating in ratings)
    scores = Counter(rating.scores["offensiveness"] for rating in ratings)
    assert scores == {1.0: 2939, 2.0: 927, 3.0: 685, 4.0: 498, 5.0: 289}
    assert [one.direction for one in dataset.objectives] == ["lower"]


def _votes(records: Dataset) -> Counter[tuple[str, str, str | None]]:
    found: Counter[tuple[str, str, str | None]] = Counter()
    for record in records:
        for reply in record.responses:
            for vote in reply.votes:
                group = vote.rater.group if vote.rater else None
                found[record.messages[0].content, vote.choice, group] += vote.count
    return found


def test_both_files_of_polis_count_the_same_votes(real_data: Path) -> None:
    counted, single = _votes(opened(real_data, "polis/comments")), _votes(opened(real_data, "polis/votes"))
    assert counted == single and sum(counted.values()) == 266_684
    choices = Counter[str]()
    for (_, choice, _), num in single.items():
        choices[choice] += num
    assert choices == {"agree": 135_587, "pass": 83_510, "disagree": 47_587}


def test_opinions(real_data: Path) -> None:
    records = list(opened(real_data, "global_opinions/opinions"))
    assert len({record.messages for record in records}) == 1269
    groups = {one.rater.group for each in records for reply in each.responses for one in reply.ratings if one.rater}
    assert len(groups) == 130
    for record in records:
        assert sum(reply.ratings[0].scores["share"] or 0 for reply in record.responses) == pytest.approx(1, abs=0.001)


def test_moral_choices(real_data: Path) -> None:
    records = list(opened(real_data, "moral_choices/scenarios"))
    assert sum(bool(record.comparisons) for record in records) == 511
    scores = Counter(score for record in records for reply in record.responses for score in reply.scores.values())
    assert scores == {0.0: 17_162, 1.0: 3017, None: 281}


def _of(record: Record) -> tuple[str | None, str]:
    (said,) = record.comparisons
    return said.objective, said.outcome


def test_personas(real_data: Path) -> None:
    dataset = opened(real_data, "persona_statements/statements")
    said = Counter(_of(record) for record in dataset)
    assert len(dataset.objectives) == 91 and set(said.values()) == {100}
    assert {outcome for _, outcome in said} == {"first", "second"}


def test_personality_items(real_data: Path) -> None:
    records = list(opened(real_data, "personality_items/items"))
    assert Counter(record.extra["inventory"] for record in records) == {"mpi_120": 120, "mpi_1k": 989}
    best = Counter(tuple(reply.scores.values()) for record in records for reply in record.responses[:1])
    assert best == {(5.0,): 621, (1.0,): 487, (): 1}


def test_toxic_prompts(real_data: Path) -> None:
    scores = [record.extra["scores"]["toxicity"] for record in opened(real_data, "toxicity_prompts/prompts")]
    assert sum(score is not None and score > 0.5 for score in scores) == 874


@pytest.mark.parametrize(
    ("name", "num_records", "num_replies", "num_ratings"),
    [
        ("summeval/ratings", 70, 840, 840 * 8),
        ("offensiveness_raters/ratings", 1218, 1218, 5338),
        ("global_opinions/opinions", 1269, None, 21_798),
        ("polis/comments", 4, 881, 0),
    ],
)
def test_rows_of_a_prompt_are_joined(
    real_data: Path, name: str, num_records: int, num_replies: int | None, num_ratings: int
) -> None:
    records = list(joined(opened(real_data, name)))
    replies = [reply for record in records for reply in record.responses]
    assert (len(records), sum(len(reply.ratings) for reply in replies)) == (num_records, num_ratings)
    assert num_replies in (None, len(replies))


@pytest.mark.slow
def test_votes_of_a_conversation_are_joined(real_data: Path) -> None:
    records = list(joined(opened(real_data, "polis/votes")))
    assert [len(record.responses) for record in records] == [607, 50, 154, 70]
    assert sum(len(reply.votes) for record in records for reply in record.responses) == 266_684
