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
from pluralign.data.record import Comparison, Ranking, Record, Response, user
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.training.batching import Collator
from pluralign.training.source import GroupSource
from pluralign.training.tradeoff import POOL, TradeOffSource

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


def two_only(record: Record, first: int, second: int) -> Record:
    place = {first: 0, second: 1}
    tiers = [tuple(place[y] for y in tier if y in place) for ranking in record.rankings for tier in ranking.tiers]
    return dataclasses.replace(
        record,
        responses=(record.responses[first], record.responses[second]),
        comparisons=tuple(
            dataclasses.replace(said, first=place[said.first], second=place[said.second])
            for said in record.comparisons
            if {said.first, said.second} == {first, second}
        ),
        rankings=tuple(dataclasses.replace(r, tiers=tuple(tier for tier in tiers if tier)) for r in record.rankings),
    )


@settings(max_examples=40)
@given(st.lists(messy_record(), min_size=1, max_size=4), st.integers(0, 3))
def test_pairs_are_judged_exactly_as_trade_off_judges_them(records, seed):
    try:
        source = TradeOffSource(records, OBJECTIVES, seed, pairs_per_step=4, weights_per_step=3)
    except DataError:
        return
    for step in range(3):
        for group in source.batch(step):
            weights = np.array([vector(condition, OBJECTIVES) for condition in group.conditions])
            candidates = [
                trade_off(two_only(record, i, j), OBJECTIVES, weights)
                for record in records
                for j in range(len(record.responses))
                for i in range(j)
            ]
            assert group in candidates


@settings(max_examples=40)
@given(st.lists(messy_record(), min_size=1, max_size=4), st.integers(0, 3))
def test_weights_fall_on_labelled_objectives_only_and_are_shared(records, seed):
    try:
        source = TradeOffSource(records, OBJECTIVES, seed, pairs_per_step=6, weights_per_step=3)
    except DataError:
        return
    by_labels = {}
    for pair, group in _drawn(source, 1):
        weights = np.array([vector(condition, OBJECTIVES) for condition in group.conditions])
        assert np.allclose(weights.sum(1), 1)
        assert (weights[:, ~np.array(pair.labels)] == 0).all()
        assert np.array_equal(by_labels.setdefault(pair.labels, weights), weights)


def _drawn(source: TradeOffSource, step: int):
    for pair in source._pool(step // POOL)[step % POOL]:
        (group,) = source._judge([pair], source._weights(step, pair.labels))
        if group is not None:
            yield pair, group


def test_when_everything_is_labelled_the_step_shares_one_draw():
    conditions = {group.conditions for group in random_source().batch(0)}
    assert len(conditions) == 1
    assert conditions != {group.conditions for group in random_source().batch(1)}


def test_identical_responses_are_never_paired():
    twins = Record(user("p0"), tuple(Response(text, {"o0": float(s)}) for s, text in enumerate(("y0", "y0", "y1"))))
    source = TradeOffSource([twins], OBJECTIVES, pairs_per_step=8)
    assert {frozenset(group.responses) for step in range(8) for group in source.batch(step)} == {
        frozenset({"y0", "y1"})
    }


def test_records_are_drawn_evenly_and_steps_hold_similar_lengths():
    rng = np.random.default_rng(0)
    records = [
        Record(user("p0"), tuple(Response("x" * int(n), {"o0": float(n)}) for n in rng.permutation(200)[:3]), id=str(i))
        for i in range(20)
    ]
    source = TradeOffSource(records, OBJECTIVES, pairs_per_step=10)
    spreads, seen = [], Counter()
    for step in range(80):
        lengths = [pair.length for pair in source._pool(step // POOL)[step % POOL]]
        spreads.append(max(lengths) - min(lengths))
        seen.update(pair.record for pair in source._pool(step // POOL)[step % POOL])
    assert np.mean(spreads) < 50  # of 200
    assert min(seen.values()) > 15  # of 40 expected
    assert set(seen) == set(range(20))


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
    """32 pairs under 4 weights over 6 objectives: about 4 ms of CPU time on one idle core; the limit leaves room."""
    records = random_records(64, 6, 5)
    source = TradeOffSource(records, objectives(6), pairs_per_step=32, weights_per_step=4)
    policy = TabularPolicy(torch.zeros(64, 5), objectives(6))
    collator = Collator(policy, reference=lambda number: 0.0)
    seconds = []
    for step in range(40):
        began = time.process_time()
        collator(source.batch(step))
        seconds.append(time.process_time() - began)
    assert sorted(seconds)[20] < 0.015
