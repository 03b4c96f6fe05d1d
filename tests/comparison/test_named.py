"""The papers' own comparisons: categories by hand, what each trains, names without folders, starts that do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import made_up
from pluralign.comparison.compare import _identity
from pluralign.comparison.entry import Entry, entries_of
from pluralign.comparison.ground import HELD_OUT, JUDGED, POOL, FileGround
from pluralign.comparison.named import alt, clp_summaries, thesis
from pluralign.comparison.named import start as begin
from pluralign.comparison.named.alt_picture import rounds_picture
from pluralign.comparison.named.alt_rounds import Heard, Levels, rounds
from pluralign.comparison.options import CompareOptions
from pluralign.comparison.shown import plain_command, plain_name
from pluralign.data import jsonl
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Comparison, Record, Response, user
from pluralign.errors import ConfigError, DataError
from pluralign.recipes.registry import recipe

KIND = Objective("kind", low=0, high=4)
WORDS = ("good", "fair", "bad")


@dataclasses.dataclass(frozen=True)
class Toxic:
    """The share of replies' letters that are e; not what the data is about."""

    objectives: tuple[Objective, ...] = (Objective("toxic", direction="lower"),)

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            replies = (
                dataclasses.replace(reply, scores={"toxic": reply.text.count("e") / max(len(reply.text), 1)})
                for reply in record.responses
            )
            yield dataclasses.replace(record, responses=tuple(replies))


@dataclasses.dataclass(frozen=True)
class Silent:
    """Words alone, no scores."""

    objectives: tuple[Objective, ...] = ()

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        yield from records


def scored(*values: float | None, words: tuple[str | None, ...] = ()) -> Record:
    said = words or (None,) * len(values)
    replies = [
        Response(f"reply {place}", scores={"kind": value}, comments=(Comment(word),) if word else ())
        for place, (value, word) in enumerate(zip(values, said, strict=True))
    ]
    return Record(user("hi"), tuple(replies))


def test_a_judges_categories_are_counted_as_given_and_unread_answers_not_at_all() -> None:
    levels = Levels(WORDS, (KIND,))
    record = scored(1.0, 1.0, 1.0, 1.0, words=("Good", "bad", "no idea", "good"))
    assert levels.of([record]) == [0, 2, None, 0] and levels.edges is None
    assert levels.shares([record]) == pytest.approx([2 / 3, 0, 1 / 3])


def test_scores_are_counted_in_the_quantiles_of_the_first_round() -> None:
    levels = Levels(WORDS, (KIND,))
    assert np.isnan(levels.shares([scored(None)])).all()
    assert levels.shares([scored(0.0, 1.0, 2.0, 2.5, 3.0, 4.0)]) == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    # all later replies are better than two thirds of the first ones
    assert levels.of([scored(4.0, 3.9, None)]) == [0, 0, None]
    assert levels.shares([scored(4.0, 3.9, 0.0)]) == pytest.approx([2 / 3, 0, 1 / 3])


def test_rounds_are_read_in_their_order(tmp_path: Path) -> None:
    for number in (10, 2):
        cut = dataclasses.replace(scored(float(number == 2) * 4, 0.0, 2.0).responses[0], finished=number == 2)
        record = dataclasses.replace(scored(1.0), responses=(cut, *scored(1.0, 1.0).responses))
        jsonl.write(tmp_path / "stages" / f"pool-{number}" / "scored.jsonl", [record], (KIND,))
    first, last = rounds(tmp_path, Levels(WORDS, (KIND,)))
    assert (first["truncated"], last["truncated"]) == (0, pytest.approx(1 / 3)) and first["replies"] == 3
    assert first["score"] == pytest.approx((4 + 1 + 1) / 12) and last["score"] == pytest.approx(2 / 12)
    assert sum(first["shares"]) == pytest.approx(1)


@dataclasses.dataclass(frozen=True)
class Judge(Toxic):
    """Toxic, and calls every reply harmful."""

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in super().score(records):
            replies = (dataclasses.replace(reply, comments=(Comment(" harmful"),)) for reply in record.responses)
            yield dataclasses.replace(record, responses=tuple(replies))


def test_dialogue_waits_for_categories_and_takes_quantiles_where_the_scorer_names_none() -> None:
    def begun(scorer: str) -> begin.Start:
        ground = FileGround(data="d", model="m", scorer=f"{__name__}:{scorer}", about_what="scorer")
        return begin.Start(ground, [Record(user("hi"), (Response("eat"),))], None)

    dialogue = recipe("alt", "dialogue")
    assert alt.heard(dialogue, begun("Judge")) == dialogue
    silent = alt.heard(dialogue, begun("Toxic"))
    assert (silent.wording.kind, silent.steering.levels[0]) == ("overall", "Excellent")
    assert silent.rounds == dialogue.rounds and silent.optim == dialogue.optim
    summaries = recipe("alt", "paper")
    assert alt.heard(summaries, begun("Toxic")) == summaries


def test_rounds_are_drawn(tmp_path: Path) -> None:
    told = [{"shares": [0.5, 0.25, 0.25], "truncated": 0.0}, {"shares": [1.0, 0.0, 0.0], "truncated": 0.5}]
    one, two = rounds_picture({"ALT": (WORDS, told)}), rounds_picture({"ALT": (WORDS, told), "Quark": (WORDS, told)})
    assert one[:4] == two[:4] == b"\x89PNG" and one != two


def test_what_a_scorer_said_is_kept() -> None:
    heard = Heard(Toxic())
    (record,) = heard.score([Record(user("hi"), (Response("eat"),))])
    assert heard.last == [record] and record.responses[0].scores["toxic"] == pytest.approx(1 / 3)
    assert [objective.name for objective in heard.objectives] == ["toxic"]


def test_pages_name_no_folder_of_the_machine() -> None:
    assert plain_name("/srv/me/rm") == "rm" == plain_name("~/models/rm") and plain_name("runs/rm") == "runs/rm"
    assert (
        plain_name("judge:/srv/me/judge.json") == "judge:judge.json"
        and plain_name("my.module:Class") == "my.module:Class"
    )
    said = plain_command("pluralign compare --data '/a b/c d.jsonl' --work=/tmp/w --model Qwen/Qwen2 --seeds 1")
    assert said == "pluralign compare --data 'c d.jsonl' --work=w --model Qwen/Qwen2 --seeds 1"


def options(tmp_path: Path, **more: object) -> CompareOptions:
    data = tmp_path / "data.jsonl"
    if not data.exists():
        words = made_up.SPOKEN
        one_reply_each = [
            dataclasses.replace(
                record,
                id=f"{place}-{number}",
                messages=user(f"tell {words[place % 10]} {words[place // 10]}"),
                responses=(reply,),
            )
            for place, record in enumerate(made_up.scored(40))
            for number, reply in enumerate(record.responses)
        ]
        made_up.write(data, one_reply_each)
    given = {
        "table": "thesis_scalar",
        "data": data,
        "model": "m",
        "scorer": f"{__name__}:Toxic",
        "work": tmp_path / "w",
    }
    return CompareOptions(**{**given, **more})


def test_rows_of_a_prompt_become_one_record_to_learn_from(tmp_path: Path) -> None:
    given = options(tmp_path)
    ground = FileGround(data=str(given.data), model="m", scorer=f"{__name__}:Toxic")
    ground.make_pool(tmp_path, 0)
    read = [record for name in (POOL, JUDGED) for record in jsonl.read(tmp_path / name)]
    assert len(read) == 40 and all(len(record.responses) > 1 and record.responses[0].scores for record in read)
    with pytest.raises(ConfigError, match="nothing in common"):
        ground.evaluation(tmp_path, 0)


def test_the_scorers_objectives_may_be_others_than_the_datas(tmp_path: Path) -> None:
    given = options(tmp_path)
    ground = FileGround(
        data=str(given.data), model="m", scorer=f"{__name__}:Toxic", about_what="scorer", weights="one-hots"
    )
    ground.make_pool(tmp_path, 0)
    assert jsonl.read_header(tmp_path / HELD_OUT).objectives == Toxic().objectives
    assert not any(reply.scores for record in jsonl.read(tmp_path / POOL) for reply in record.responses)
    world = ground.evaluation(tmp_path, 0)
    assert world.objectives == Toxic().objectives and world.grid.tolist() == [[1.0]]
    silent = dataclasses.replace(ground, scorer=f"{__name__}:Silent")
    with pytest.raises(ConfigError, match="gives no scores to compare by"):
        silent.evaluation(tmp_path, 0)


def test_ratings_of_wins_are_made_for_the_row_that_asks_for_them(tmp_path: Path) -> None:
    said = (Comparison(0, 1, "first", "kind"),)
    pairs = [Record(user(f"tell {n}"), (Response("a"), Response("b")), said, id=str(n)) for n in range(30)]
    jsonl.write(tmp_path / "pairs.jsonl", pairs, made_up.OBJECTIVES)
    ground = FileGround(data=str(tmp_path / "pairs.jsonl"), model="m", scorer="tests:None")
    ground = dataclasses.replace(ground, scorer="test_comparing:WordCount")
    ground.make_pool(tmp_path, 0)
    plain, rated = (Entry(key=name, title=name, method="cmpo", by_wins=by) for name, by in (("a", False), ("b", True)))
    assert ground.options(tmp_path, tmp_path / "a", plain, 0).data == tmp_path / POOL
    path = ground.options(tmp_path, tmp_path / "b", rated, 0).data
    high = made_up.OBJECTIVES[0].high
    assert {tuple(reply.scores["kind"] for reply in r.responses) for r in jsonl.read(path)} == {(high, 0.0)}
    jobs = [{"entry": dataclasses.asdict(entry)} for entry in (plain, rated)]
    assert _identity(jobs[0]) != _identity(jobs[1])
    old = {"entry": {name: value for name, value in jobs[0]["entry"].items() if name != "by_wins"}}
    assert _identity(old) == _identity(jobs[0]), "rows of an earlier version stay done"


def test_a_row_stays_done_when_its_method_gets_a_new_option() -> None:
    """Its default leaves things as they were; another value, or an option that is no more, makes another row."""
    (entry,) = entries_of("steerlm", lab=True)
    job = {"entry": dataclasses.asdict(entry)}
    steering = dict(entry.settings["steering"])

    def changed(told: dict[str, object]) -> str:
        return _identity({"entry": job["entry"] | {"settings": entry.settings | {"steering": told}}})

    assert steering.pop("blank") == ""
    assert changed(steering) == _identity(job)
    assert changed(steering | {"blank": "-"}) != _identity(job)
    assert changed(steering | {"loudness": 3}) != _identity(job)


def test_a_start_of_other_settings_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    given = options(tmp_path)
    with pytest.raises(ConfigError, match="nothing in common"):
        begin.start(given)
    for other in ({"max_steps": 2}, {"model": "other"}, {"max_new_tokens": 3}):
        with pytest.raises(ConfigError, match="another folder"):
            begin.start(options(tmp_path, **other))


def test_data_without_replies_starts_from_the_base_which_the_thesis_cannot(tmp_path: Path) -> None:
    prompts = [Record(user(f"tell {n}"), (), id=str(n)) for n in range(30)]
    jsonl.write(tmp_path / "data.jsonl", prompts, Toxic().objectives)
    begun = begin.start(options(tmp_path), about_what="scorer")
    assert begun.sft is None and begun.ground.model == "m" and 0 < len(begun.held_out) < 30
    with pytest.raises(DataError, match="no replies to fine-tune on"):
        thesis.compared(options(tmp_path, work=tmp_path / "other"), "c", "T")


def test_some_demonstrations_choose_the_start_and_are_not_learnt(tmp_path: Path) -> None:
    """A tenth, by prompt, of those that rows learn from; where that would be none, all are learnt."""
    records = [dataclasses.replace(scored(1.0, 2.0), messages=user(f"tell {n}")) for n in range(60)]
    jsonl.write(tmp_path / POOL, records, (KIND,))
    learnt, choosing = begin._divided(tmp_path)
    assert choosing is not None
    asked = [{record.messages for record in jsonl.read(path)} for path in (learnt, choosing)]
    assert 1 <= len(asked[1]) <= 15 and not asked[0] & asked[1] and len(asked[0] | asked[1]) == 60
    jsonl.write(tmp_path / POOL, records[:1], (KIND,))
    assert begin._divided(tmp_path) == (tmp_path / POOL, None)


def test_rows_are_what_the_papers_train(tmp_path: Path) -> None:
    dpo, steerlm, cmpo = thesis.entries(options(tmp_path), by_wins=True)
    assert (
        dpo.one_objective
        and dpo.settings["loss"] == cmpo.settings["loss"]
        and dpo.settings["optim"] == cmpo.settings["optim"]
    )
    assert (steerlm.model, steerlm.extremes, steerlm.by_wins) == ("m", True, True) and not (cmpo.model or cmpo.by_wins)
    soups, full, attention, head, prompt = clp_summaries.entries(options(tmp_path, table="clp_summaries"), 3)
    assert soups.settings["corner"] == 1.0 and full.settings["corner"] == 0.1
    assert soups.settings["sampling"]["prompts_per_step"] == 3 * full.settings["sampling"]["prompts_per_step"]
    assert soups.settings["steering"] == full.settings["steering"]
    assert [each.settings["steering"].get("where") for each in (full, attention, head, prompt)] == [
        "all",
        "attention",
        "head",
        None,
    ]
