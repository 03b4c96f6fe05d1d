"""The line: turns, order, and what one owner may take of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pluralign.serving.line import LONGEST_WAIT, Line, Pace, Shares


@dataclass(eq=False)
class Guest:
    owner: str
    rows: int
    number: int = 0


def taken(line: Line[Guest], free: int) -> list[Guest]:
    """Everybody whom so many free rows let in."""
    found: list[Guest] = []

    def fits(guest: Guest) -> bool:
        return sum(each.rows for each in [*found, guest]) <= free

    while (guest := line.take(fits)) is not None:
        found.append(guest)
    return found


def test_owners_take_turns() -> None:
    line: Line[Guest] = Line()
    for number in range(3):
        line.put(Guest("a", 1, number))
    line.put(Guest("b", 1))
    line.put(Guest("c", 1))
    assert [(each.owner, each.number) for each in taken(line, 9)] == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("a", 2)]


def test_nobody_overtakes_who_needs_more_rows() -> None:
    line: Line[Guest] = Line()
    big, small = Guest("a", 6), Guest("b", 1)
    line.put(big)
    line.put(small)
    assert taken(line, 5) == []
    assert taken(line, 7) == [big, small]


def test_who_leaves_gives_the_rows_back() -> None:
    line: Line[Guest] = Line()
    first, second = Guest("a", 2), Guest("a", 3)
    line.put(first)
    line.put(second)
    assert line.drop(first)
    assert not line.drop(first)
    assert (line.rows, len(line), line.rows_of("a"), line.rows_of("b")) == (3, 1, 3, 0)
    assert line.clear() == [second]
    assert (line.rows, len(line)) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=30), st.integers(3, 8))
def test_everybody_comes_in_once_and_in_order(guests: list[tuple[str, int]], free: int) -> None:
    line: Line[Guest] = Line()
    put = [Guest(owner, rows, number) for number, (owner, rows) in enumerate(guests)]
    for guest in put:
        line.put(guest)
    seen: list[Guest] = []
    while line.rows:
        seen += taken(line, free)
    assert sorted(each.number for each in seen) == list(range(len(put)))
    for owner in "abc":
        numbers = [each.number for each in seen if each.owner == owner]
        assert numbers == sorted(numbers)


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_full_line_of_one_owner_delays_another_by_one_turn(many: int, few: int) -> None:
    line: Line[Guest] = Line()
    for number in range(many):
        line.put(Guest("greedy", 1, number))
    for number in range(few):
        line.put(Guest("modest", 1, number))
    owners = [each.owner for each in taken(line, many + few)]
    both = 2 * min(many, few)
    assert owners[:both] == ["greedy", "modest"] * (both // 2)


def test_who_is_alone_may_take_the_whole_line() -> None:
    shares = Shares()
    shares.asked("a")
    assert shares.allow(own=64, left=0)
    shares.asked("b")
    assert not shares.allow(own=33, left=32)
    assert shares.allow(own=32, left=32)


def test_the_pace_is_measured() -> None:
    pace = Pace()
    assert pace.seconds(1000) == 1  # nothing is known
    for _ in range(6):
        pace.went(2)
        time.sleep(0.02)
    # 12 rows in a bit more than 0.12 s: at most 100 a second, and here surely more than 10
    assert 5 <= pace.seconds(500) <= 50
    assert pace.seconds(0) == 1
    assert pace.seconds(10**9) == LONGEST_WAIT
