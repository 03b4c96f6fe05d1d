"""The load generator on a real HTTP server that does what it is told: every reply is counted, timed and judged."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from speaker import Speaker, speaking, words

from pluralign.bench.gate import EqualityError
from pluralign.bench.serve_check import Judge, gate, same_weights
from pluralign.bench.serve_load import Ask, Reply, Target, closed, open_loop
from pluralign.bench.serve_naive import Told
from pluralign.bench.serve_overload import quantile
from pluralign.bench.serve_soak import growth
from pluralign.bench.serve_speed import Phase, Versus, check_all, versus

ASKS = [Ask(f"p{n}", {"kind": n / 64, "brief": 1 - n / 64} if n % 4 else None, n, 8) for n in range(40)]


class Known:
    """What the speaker says to a request; nothing is ever decided by rounding."""

    def reply(self, ask: Ask) -> Told:
        return Told(" ".join(words(ask.body("m", False))), (1,))

    def near_boundary(self, ask: Ask, told: Told, other: str) -> bool:
        return False


def _judge() -> Judge:
    known: Any = Known()
    return Judge(known, ASKS)


@pytest.mark.parametrize("stream", [True, False])
def test_every_reply_arrives_whole_and_is_its_own(stream: bool) -> None:
    with speaking(speaker := Speaker(seconds=0.01)) as address:
        target = Target(address, "m", stream)
        replies = closed(target, ASKS, clients=8)
        found = _judge().judge(replies)
    assert speaker.most == 8
    assert sorted(reply.place for reply in replies) == list(range(40))
    assert (found.right, found.checked) == (40, 40)
    assert all(reply.tokens == len(words(ASKS[reply.place].body("m", stream))) for reply in replies)
    assert all(reply.due <= reply.sent < reply.ended for reply in replies)
    assert all((reply.sent + 0.01 <= reply.first <= reply.ended) == stream for reply in replies)


@pytest.mark.parametrize(
    ("fault", "counted"), [("swap", "mixed"), ("echo", "mixed"), ("cut", "lost"), ("fail", "lost")]
)
def test_what_goes_wrong_is_counted(fault: str, counted: str) -> None:
    with speaking(Speaker(fault=fault)) as address:
        replies = closed(Target(address, "m"), ASKS, clients=1)
        found = _judge().judge(replies)
        lost = sum(reply.lost for reply in replies)
        assert (found.mixed_up, lost) == ((4, 0) if counted == "mixed" else (0, 4))  # every tenth of 40
        with pytest.raises(EqualityError, match=r"not what generate gives|no whole reply"):
            gate(Target(address, "m"), _judge(), 1)


def test_too_much_load_is_refused_in_order_and_nothing_is_lost() -> None:
    with speaking(speaker := Speaker(slots=5, seconds=0.2)) as address:  # 25 replies a second
        replies = open_loop(Target(address, "m"), ASKS, 200, lambda found: len(found) >= 150)
    complete, refused = sum(reply.complete for reply in replies), sum(reply.refused for reply in replies)
    assert complete + refused == len(replies) >= 150 and refused > 20 and speaker.most == 5
    offered = len(replies) / (max(reply.due for reply in replies) - min(reply.due for reply in replies))
    assert 140 < offered < 280  # Poisson: 200 ± 16 at 150 arrivals
    assert _judge().judge(replies).right == complete


def test_moments_count_from_when_a_request_was_due() -> None:
    first = Ask("p", None, 0, 8)
    with speaking(Speaker()) as address:
        begun = time.perf_counter()
        replies = open_loop(Target(address, "m"), [first], 1e4, lambda found: time.perf_counter() > begun + 0.2)
    late = [reply.sent - reply.due for reply in replies]
    assert min(late) >= 0 and max(late) > 0.005, (
        "10,000 a second is more than any client can send: it falls behind and says so"
    )


def test_a_dead_server_loses_everything() -> None:
    with speaking(Speaker()) as address:
        pass
    replies = closed(Target(address, "m", timeout=2), ASKS[:3], clients=3)
    assert [reply.lost for reply in replies] == [True] * 3 and replies[0].problem


def test_ratios_are_of_tokens_per_second() -> None:
    order: list[str] = []

    def load(name: str, seconds: float) -> Any:
        def run(number: int) -> Phase:
            order.append(name)
            return Phase(1, 10 * (number + 1), seconds * (number + 1), 1.0)

        return run

    found = versus(load("slow", 3.0), load("fast", 1.0), repeats=2)
    assert order == ["fast", "slow", "slow", "fast", "fast", "slow"]  # the first pair warms up
    assert (found.ratio().value, found.ratio().low, found.ratio().high) == pytest.approx((3.0, 3.0, 3.0))
    cpu = Versus((Phase(1, 10, 1, 2.0),), (Phase(1, 20, 1, 1.0),)).ratio(cpu=True)
    assert cpu.value == pytest.approx(4.0)  # .2 CPU seconds a token against .05


def test_small_measures() -> None:
    assert [quantile(list(range(1, 101)), share) for share in (0.5, 0.99)] == [50, 99]
    assert math.isnan(quantile([], 0.5))
    assert growth([9, 1, 2, 2, 5, 7, 8, 4]) == 4  # quarters (9, 1) (2, 2) (5, 7) (8, 4): medians 6 - 2
    assert growth([1, 2]) == 0
    same = Reply(0, 0.0, echoed={"a": 0.3, "b": 0.7})
    assert same_weights(Ask("p", {"a": 0.3, "b": 0.7}, 0, 1), same)
    assert not same_weights(Ask("p", {"a": 0.7, "b": 0.3}, 0, 1), same)
    assert not same_weights(Ask("p", None, 0, 1), same)
    with pytest.raises(EqualityError, match="1 of 2"):
        check_all([Reply(0, 0.0, status=200, finish="stop")], 2)
