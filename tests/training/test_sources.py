"""Sources: pure functions of (seed, step), fair, and judged as the conversions judge."""

import dataclasses
import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tabular_policy import TabularPolicy, objectives, random_groups, random_records, random_source

from pluralign.data.condition import vector
from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.group import Group
from pluralign.data.record import Comparison, Ranking, Record, Response, user
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.training.batching import Collator
from pluralign.training.source import GroupSource
from pluralign.training.tradeoff import TradeOffSource

OBJECTIVES = objectives(3)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 5))
def test_a_batch_depends_on_seed_and_step_only(steps, seed):
    groups = random_groups()
    for build in (lambda: GroupSource(groups, 5, seed), lambda: random_source(seed)):
        forward = build()
        in_any_order = {step: forward.batch(step) for step in steps}
        assert in_any_order == {step: build().batch(step) for step in set(steps)}


@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 3))
def test_every_epoch_holds_every_group_once(num, batch_size, epochs):
    groups = [dataclasses.replace(group, id=str(i)) for i, group in enumerate(random_groups(num))]
    source = GroupSource(groups, batch_size, seed=1)
    steps = (epochs + 1) * num // batch_size + 2
    drawn = [group.id for step in range(steps) for group in source.batch(step)]
    for epoch in range(epochs + 1):
        assert sorted(drawn[epoch * num : (epoch + 1) * num]) == sorted(group.id for group in groups)


def test_epochs_differ_and_steps_are_counted():
    source = GroupSource(random_groups(12), 12, seed=0)
    assert source.batch(0) != source.batch(1)
    assert GroupSource(random_groups(12), 12, seed=1).batch(0) != source.batch(0)
    assert (source.steps(1), GroupSource(random_groups(12), 5).steps(2), source.steps(0.01)) == (1, 5, 1)


def test_no_groups_and_no_labels_are_data_errors():
    with pytest.raises(DataError, match="no groups"):
        GroupSource([], 4)
    with pytest.raises(ConfigError, match="batch_size"):
        GroupSource(random_groups(), 0)
    with pytest.raises(DataError, match="o0, o1, o2"):
        TradeOffSource([Record(user("p0"), (Response("y0", {"o0": 1.0}), Response("y1", {"o1": 1.0})))], OBJECTIVES)
    with pytest.raises(ConfigError, match="weights_per_step"):
        TradeOffSource(random_records(2, 3, 3), OBJECTIVES, weights_per_step=0)


scores = st.one_of(st.none(), st.integers(0, 4).map(float))


@st.composite
def messy_record(draw) -> Record:
    """Missing and abstained scores, comparisons, rankings."""
    responses = tuple(
        Response(f"y{y}" + "x" * draw(st.integers(0, 9)), draw(st.dictionaries(st.sampled_from(["o0", "o1"]), scores)))
        for y in range(draw(st.integers(2, 4)))
    )
    place = st.integers(0, len(responses) - 1)
    outcome = st.sampled_from(["first", "second", "tie", "abstain"])
    comparisons = [
        Comparison(
            *sorted(draw(st.sets(place, min_size=2, max_size=2))), draw(outcome), draw(st.sampled_from(["o1", "o2"]))
        )
        for _ in range(draw(st.integers(0, 4)))
    ]
    rankings = (Ranking(tuple((y,) for y in range(len(responses))), "o2"),) if draw(st.booleans()) else ()
    return Record(user("p0"), responses, tuple(comparisons), rankings)


def side_by_side(records: list[Record]) -> Record:
    """Records of one prompt as one record."""
    comparisons, rankings, start = [], [], 0
    for record in records:
        comparisons += [
            dataclasses.replace(said, first=said.first + start, second=said.second + start)
            for said in record.comparisons
        ]
        rankings += [
            dataclasses.replace(said, tiers=tuple(tuple(place + start for place in tier) for tier in said.tiers))
            for said in record.rankings
        ]
        start += len(record.responses)
    responses = tuple(response for record in records for response in record.responses)
    return Record(user("p0"), responses, tuple(comparisons), tuple(rankings))


def verdicts(group: Group) -> set:
    return {
        (group.conditions[p.condition], group.responses[p.chosen], group.responses[p.rejected], p.margin)
        for p in group.preferences
    }


@settings(max_examples=40)
@given(st.lists(messy_record(), min_size=1, max_size=4), st.integers(0, 3))
def test_pairs_are_judged_exactly_as_trade_off_judges_them(records, seed):
    """Texts are made unique, so that a verdict can be looked up by them."""
    unique = [
        dataclasses.replace(
            record, responses=tuple(dataclasses.replace(r, text=f"{n} {r.text}") for r in record.responses)
        )
        for n, record in enumerate(records)
    ]
    try:
        source = TradeOffSource(unique, OBJECTIVES, seed, responses_per_step=8, responses_per_prompt=5)
    except DataError:
        return
    whole = side_by_side(unique)
    for step in range(3):
        for group in source.batch(step):
            weights = np.array([vector(condition, OBJECTIVES) for condition in group.conditions])
            allowed = trade_off(whole, OBJECTIVES, weights)
            assert allowed is not None
            assert {v[:3] for v in verdicts(group)} <= {v[:3] for v in verdicts(allowed)}
            found = {v[:3]: v[3] for v in verdicts(allowed)}
            for *pair, margin in verdicts(group):
                assert margin is None if found[tuple(pair)] is None else margin == pytest.approx(found[tuple(pair)])


def test_a_step_judges_every_pair_of_the_responses_it_draws():
    records = [Record(user("p0"), tuple(Response(f"y{y}", {"o0": float(y)}) for y in range(4)), id="a")]
    (group,) = TradeOffSource(records, objectives(1), responses_per_step=4, weights_per_step=2).batch(0)
    assert sorted(group.responses) == ["y0", "y1", "y2", "y3"]
    assert len(group.preferences) == 12  # 6 pairs under 2 weights
    assert {(group.responses[p.chosen], group.responses[p.rejected], p.margin) for p in group.preferences} == {
        (f"y{a}", f"y{b}", float(a - b)) for a in range(4) for b in range(a)
    }


def test_records_of_one_prompt_are_judged_together():
    """Scores compare across records, comparisons only within theirs."""
    apart = [Record(user("p0"), (Response(f"y{y}", {"o0": float(y)}),)) for y in range(3)]
    (group,) = TradeOffSource(apart, objectives(1), responses_per_step=3, weights_per_step=1).batch(0)
    assert len(group.preferences) == 3
    said = [
        Record(user("p0"), (Response(f"y{y}"), Response(f"z{y}")), (Comparison(0, 1, "first", "o0"),)) for y in range(2)
    ]
    (group,) = TradeOffSource(said, objectives(1), responses_per_step=4, weights_per_step=1).batch(0)
    assert {(group.responses[p.chosen], group.responses[p.rejected], p.margin) for p in group.preferences} == {
        ("y0", "z0", None),
        ("y1", "z1", None),
    }


def test_ties_are_judgements_of_margin_0_where_asked_for():
    twins = [Record(user("p0"), (Response("y0", {"o0": 1.0}), Response("y1", {"o0": 1.0})))]
    assert TradeOffSource(twins, objectives(1), responses_per_step=2).batch(0) == []
    (group,) = TradeOffSource(twins, objectives(1), responses_per_step=2, ties=True, weights_per_step=1).batch(0)
    assert [p.margin for p in group.preferences] == [0.0]


@settings(max_examples=40)
@given(st.lists(messy_record(), min_size=1, max_size=4), st.integers(0, 3))
def test_weights_fall_on_labelled_objectives_only_and_are_shared(records, seed):
    try:
        source = TradeOffSource(records, OBJECTIVES, seed, responses_per_step=12, weights_per_step=3)
    except DataError:
        return
    by_labels = {}
    for drawn in source.draw(1):
        labels = {tuple(row) for row in drawn.labels.tolist()}
        for group in source._judge(drawn, 1):
            weights = np.array([vector(condition, OBJECTIVES) for condition in group.conditions])
            assert np.allclose(weights.sum(1), 1)
            known = {
                tuple(drawn.labels[pair].tolist())
                for pair in range(len(drawn.first))
                if {int(drawn.first[pair]), int(drawn.second[pair])}
                in [{p.chosen, p.rejected} for p in group.preferences]
            }
            (own,) = known & labels
            assert (weights[:, ~np.array(own)] == 0).all()
            assert np.array_equal(by_labels.setdefault(own, weights), weights)


def test_when_everything_is_labelled_the_step_shares_one_draw():
    conditions = {group.conditions for group in random_source().batch(0)}
    assert len(conditions) == 1
    assert conditions != {group.conditions for group in random_source().batch(1)}


def test_identical_responses_are_never_paired():
    twins = Record(user("p0"), tuple(Response(text, {"o0": float(s)}) for s, text in enumerate(("y0", "y0", "y1"))))
    source = TradeOffSource([twins], OBJECTIVES, responses_per_step=16)
    pairs = [
        {group.responses[p.chosen], group.responses[p.rejected]}
        for step in range(8)
        for group in source.batch(step)
        for p in group.preferences
    ]
    assert pairs
    assert all(pair == {"y0", "y1"} for pair in pairs)


def test_prompts_are_drawn_by_their_number_of_responses_and_steps_are_full():
    records = [
        Record(user(f"p{i}"), tuple(Response(f"y{y}", {"o0": float(y)}) for y in range(2 + i % 3)), id=str(i))
        for i in range(12)
    ]
    source = TradeOffSource(records, OBJECTIVES, responses_per_step=10, responses_per_prompt=3)
    seen = Counter()
    for step in range(300):
        drawn = source.draw(step)
        assert 9 <= sum(len(each.responses) for each in drawn) <= 10
        assert max(len(each.responses) for each in drawn) <= 3
        seen.update(each.record.id for each in drawn)
    total = seen.total()
    for i in range(12):
        assert seen[str(i)] / total == pytest.approx((2 + i % 3) / 36, abs=0.02)


def test_texts_name_everything_a_batch_can_hold():
    for source in (GroupSource(random_groups(), 5), random_source()):
        known = set(source.texts())
        held = {text for step in range(20) for group in source.batch(step) for text in group.texts()}
        assert held <= known


def test_another_source_is_refused_on_resume():
    source = random_source()
    source.restore(random_source().state())
    with pytest.raises(RunError, match="seed: 1 then, 0 now"):
        source.restore(random_source(seed=1).state())
    groups = GroupSource(random_groups(), 5)
    with pytest.raises(RunError, match="content: "):
        groups.restore(GroupSource(random_groups(seed=8), 5).state())
    with pytest.raises(RunError, match="kind: "):
        groups.restore(source.state())


def test_a_step_does_not_wait_for_its_data():
    """64 responses under 4 weights over 6 objectives, 8 of a prompt: the limit leaves room for a loaded machine."""
    records = random_records(64, 6, 5)
    source = TradeOffSource(records, objectives(6), weights_per_step=4)
    policy = TabularPolicy(torch.zeros(64, 5), objectives(6))
    collator = Collator(policy, reference=lambda number: 0.0)
    seconds = []
    for step in range(40):
        began = time.process_time()
        collator(source.batch(step))
        seconds.append(time.process_time() - began)
    assert sorted(seconds)[20] < 0.05
