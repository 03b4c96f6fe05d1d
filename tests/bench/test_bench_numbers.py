"""Statistics, operations and page values of a benchmark, worked out by hand."""

from __future__ import annotations

import pytest
from bench_shapes import LENGTHS

from pluralign.bench.flops import HeadWork, Work, least_flops, peak, work
from pluralign.bench.models import FIRST_WORD, Shape, word_tokenizer
from pluralign.bench.parts import RatioOf
from pluralign.bench.tasks import Item, conditioned, items, pairwise, plain, scaled
from pluralign.bench.timing import Clock, Row, Timing, interleaved, ratio
from pluralign.encoding import Encoder


def test_medians_spreads_and_ratios() -> None:
    slow, fast = Timing((6.0, 2.0, 4.0)), Timing((1.0, 2.0, 0.5))
    assert (slow.median, slow.spread) == (4.0, (2.0, 6.0))
    found = ratio(slow, fast, times=7)
    assert found.value == 28.0  # 7 · 4 / 1
    assert (found.low, found.high) == (7.0, 56.0)  # 7 · 2 / 2 and 7 · 4 / 0.5


def test_rows_take_turns_and_warm_ups_do_not_count() -> None:
    order: list[str] = []
    rows = [Row("a", "A", lambda: order.append("a")), Row("b", "B", lambda: order.append("b"))]
    timings = interleaved(rows, repeats=2, clock=Clock(), name="turns")
    assert "".join(order) == "ababab"
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2]


def test_the_clock_counts_work_and_not_waiting() -> None:
    import time

    assert Clock()(lambda: time.sleep(0.05)) < 0.04


@pytest.mark.parametrize(("value", "met"), [(1.9, True), (2.0, True), (2.1, False)])
def test_a_target_from_above(value: float, met: bool) -> None:
    assert RatioOf("key", "a", "b", at_most=2.0).met(value) is met
    assert RatioOf("key", "a", "b", at_least=2.0).met(value) is (value >= 2)
    assert RatioOf("key", "a", "b").met(value) is None


def test_tokens_of_a_group() -> None:
    """Prompt of 3, replies of 2 and 1 words, each with an end token: 3 and 2 tokens."""
    (group,) = plain([Item("w5 w6 w7", ("w8 w9", "w10"))])
    encoder = Encoder(word_tokenizer(20), "plain")
    assert work([group], encoder, shared=True) == Work(3 + 3 + 2, 5, 6 + (3 * 3 + 6) + (2 * 3 + 3))
    assert work([group], encoder, shared=False) == Work(6 + 3 + 2, 5, 12 + (3 * 3 + 6) + (2 * 3 + 3))


def test_operations_of_a_step() -> None:
    """Width 4, inner 8, 2 layers: a layer has 4·4·4 + 3·4·8 = 160 weights; vocabulary 10."""
    shape = Shape("hand", 10, 4, 8, 2, 2, 2)
    assert shape.layer_parameters == 160
    done = Work(tokens=7, response_tokens=3, pairs=11)
    trunk = 4 * 320 * 7 + 12 * 4 * 2 * 11
    assert least_flops(shape, done, HeadWork()) == trunk + 4 * 40 * 3
    assert least_flops(shape, done, HeadWork(active=3, weights=7)) == trunk + 6 * 40 * 3 * 3
    assert least_flops(shape, done, HeadWork(active=3, weights=2)) == trunk + 6 * 40 * 2 * 3
    assert least_flops(shape, done, HeadWork(active=3, weights=7, rank=2)) == trunk + (4 * 40 + 6 * 3 * 2 * 10) * 3


def test_grouped_queries_have_fewer_weights() -> None:
    assert Shape("hand", 10, 4, 8, 1, 2, 1).layer_parameters == 2 * 4 * (4 + 2) + 3 * 4 * 8


def test_a_peak_is_measured() -> None:
    assert peak(Shape("hand", 10, 4, 8, 2, 2, 2), "cpu", repeats=1) > 1e8


def test_the_texts_of_a_step() -> None:
    drawn = items(50, LENGTHS, num=3, num_replies=4)
    assert all(6 <= len(item.prompt.split()) <= 9 for item in drawn)
    assert all(3 <= len(reply.split()) <= 5 for item in drawn for reply in item.replies)
    assert items(50, LENGTHS, num=3, num_replies=4) == drawn
    assert [len(group.preferences) for group in plain(drawn)] == [6, 6, 6]
    apart = pairwise(drawn)
    assert len(apart) == len({group.messages for group in apart}) == 18
    assert {len(group.messages[0].content.split()) for group in apart[:6]} == {len(drawn[0].prompt.split())}
    assert apart[0].messages[0].content.endswith(f" w{FIRST_WORD}")


def test_three_wins_of_four_are_seven_weights() -> None:
    (group,) = conditioned([Item("w5", ("w6", "w7"))], num_objectives=4, wins=3)
    assert len(group.conditions) == len(group.preferences) == 7
    assert {(p.chosen, p.rejected) for p in group.preferences} == {(0, 1)}


def test_shorter_texts() -> None:
    short = scaled(LENGTHS, 0.1)
    assert (short.prompt, short.response) == ((1, 1), (1, 1))
