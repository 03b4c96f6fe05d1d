"""Constituents: groups of raters as objectives, by hand, and a model trained to please them in any proportion."""

from __future__ import annotations

from pathlib import Path

import pytest

import made_up
from pluralign.api import TrainOptions, train
from pluralign.data import jsonl
from pluralign.data.condition import Weights
from pluralign.data.conversions.constituents import constituents
from pluralign.data.dataset import Dataset
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Ranking, Rater, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.methods.cmpo import Cmpo
from pluralign.training.optim import Optim

YOUNG, OLD, NOBODY = Rater("a", "18-29"), Rater("b", "over 60"), Rater("c")
BOTH = (Objective("helpful", low=0, high=4), Objective("long", low=1, high=5, direction="lower"))


def dataset(*records: Record, objectives: tuple[Objective, ...] = BOTH) -> Dataset:
    return Dataset(objectives, lambda tally: iter(records), licence="CC0-1.0")


def rated(*ratings: Rating) -> Record:
    return Record(user("q"), (Response("r", scores={"helpful": 3.0}, ratings=ratings),))


def test_scores_are_means_of_a_groups_ratings() -> None:
    record = rated(
        Rating({"helpful": 4, "long": 5}, YOUNG),
        Rating({"helpful": 1}, Rater("z", "18-29")),
        Rating({"helpful": 0, "long": None}, OLD),
        Rating({"helpful": 2}, NOBODY),
        Rating({"helpful": 2}),
    )
    found = constituents(dataset(record))
    assert [(o.name, o.low, o.high, o.direction) for o in found.objectives] == [
        ("helpful-g18-29", 0, 4, "higher"), ("helpful-over-60", 0, 4, "higher"), ("long-g18-29", 1, 5, "lower"),
    ]  # fmt: skip
    (changed,) = found
    assert changed.responses[0].scores == {"helpful-g18-29": 2.5, "helpful-over-60": 0, "long-g18-29": 5}
    assert found.licence == "CC0-1.0"


def test_one_objective_gives_plain_names_and_raters_can_be_constituents() -> None:
    record = rated(Rating({"helpful": 4}, YOUNG), Rating({"helpful": 2}, NOBODY))
    found = constituents(dataset(record, objectives=BOTH[:1]), "rater")
    assert [objective.name for objective in found.objectives] == ["a", "c"]


def test_comparisons_and_rankings_go_to_who_said_them() -> None:
    replies = (Response("r"), Response("s"))
    said = (
        Comparison(0, 1, "first", rater=YOUNG),
        Comparison(0, 1, "second", "helpful", rater=OLD),
        Comparison(0, 1, "tie"),
    )
    record = Record(user("q"), replies, said, (Ranking(((1,), (0,)), rater=OLD),))
    silent = Record(user("other"), replies, (Comparison(0, 1, "first"),))
    (changed,) = constituents(dataset(record, silent))
    assert [(each.objective, each.outcome) for each in changed.comparisons] == [
        ("g18-29", "first"), ("helpful-over-60", "second"),
    ]  # fmt: skip
    assert [each.objective for each in changed.rankings] == ["over-60"]


def test_names_stay_distinct() -> None:
    alike = [Rating({"helpful": 1}, Rater(None, group)) for group in ("a b", "a-b", "???")]
    found = constituents(dataset(rated(*alike), objectives=BOTH[:1]))
    assert [objective.name for objective in found.objectives] == ["someone", "a-b", "a-b-2"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="group"):
        constituents(dataset(rated(Rating({"helpful": 2}, NOBODY))))
    with pytest.raises(ConfigError, match="group or rater"):
        constituents(dataset(rated()), "town")  # type: ignore[arg-type]
    many = [Rating({"helpful": 1}, Rater(str(number))) for number in range(65)]
    with pytest.raises(DataError, match="65 constituents"):
        constituents(dataset(rated(*many)), "rater")


def test_heads_are_groups(tmp_path: Path) -> None:
    """Trained with --constituents group, the policy is asked for groups."""
    records = [
        Record(
            record.messages,
            tuple(
                Response(
                    reply.text,
                    ratings=(
                        Rating({"kind": reply.scores["kind"]}, YOUNG),
                        Rating({"kind": 4.0 - reply.scores["kind"]}, OLD),
                    ),  # type: ignore[operator]
                )
                for reply in record.responses
            ),
            id=record.id,
        )
        for record in made_up.scored(12)
    ]
    file, model = tmp_path / "data.jsonl", made_up.words_model(tmp_path / "model")
    jsonl.write(file, records, made_up.OBJECTIVES[:1])
    optim = Optim(steps=3, batch_size=4, warmup=1)
    options = TrainOptions(data=file, model=str(model), out=tmp_path / "run", constituents="group")
    policy = train(Cmpo(optim=optim), options)
    assert [objective.name for objective in policy.objectives] == ["g18-29", "over-60"]
    asked = [Weights({"g18-29": 0.3, "over-60": 0.7})]
    assert policy.logprobs([user("tell me a joke")], ["good joke"], asked).isfinite().all()
