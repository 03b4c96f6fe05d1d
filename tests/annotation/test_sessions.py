"""The state machine of annotating: questions in order, keys in, events out; undo is the inverse, resume is the fold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluralign.annotation import events
from pluralign.annotation.events import Commented, Compared, Event, Rated, Undone
from pluralign.annotation.feedback import attach
from pluralign.annotation.feedback import given as given_by
from pluralign.annotation.questions import Plan, asked_objectives, keyed, swapped
from pluralign.annotation.session import Key, Session, State, fold
from pluralign.data import lines
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Comparison, Rater, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError

KIND, BRIEF, LONG = Objective("kind", low=1, high=5), Objective("brief", low=0, high=3), Objective("long", high=100)


def typed(session: Session, text: str, state: State | None = None) -> tuple[State, list[Event]]:
    """The keys of a text, one by one; ↵ is Enter, ⌫ backspace, ⎋ escape."""
    named = {"↵": Key("enter"), "⌫": Key("backspace"), "⎋": Key("cancel")}
    state, kept = state or State(), []
    for letter in text:
        state, event = session.press(state, named.get(letter, Key("char", letter)))
        kept += [] if event is None else [event]
    return state, kept


def rating(num: int = 3, *objectives: Objective) -> Session:
    return Session(Plan([1] * num, objectives or (KIND,), "rate"))


def comparing(num: int = 3, seed: int = 0) -> Session:
    return Session(Plan([2] * num, (KIND,), "compare"), seed=seed)


# -- questions -----------------------------------------------------------------------------------------------------


def test_replies_come_before_objectives_and_records_before_both() -> None:
    plan = Plan([2, 0, 1], (KIND, BRIEF), "rate")
    asked = [(q.record, q.replies, q.objective.name) for q in plan]
    first = [(0, (reply,), name) for reply in (0, 1) for name in ("kind", "brief")]
    assert asked == [*first, (2, (0,), "kind"), (2, (0,), "brief")]
    assert [q.number for q in plan] == [0, 1, 2, 3, 4, 5]


def test_every_pair_is_compared_and_auto_rates_single_replies() -> None:
    plan = Plan([1, 3], (KIND,), "auto")
    assert [(q.record, q.replies) for q in plan] == [(0, (0,)), (1, (0, 1)), (1, (0, 2)), (1, (1, 2))]
    assert len(Plan([1, 0], (KIND,), "compare")) == 0


def test_objectives_are_read_from_a_text() -> None:
    assert asked_objectives("kind:1-5, tone:-2-2.5,new", (KIND, BRIEF), "rate") == (
        KIND, Objective("tone", low=-2, high=2.5), Objective("new"),
    )  # fmt: skip
    assert asked_objectives("", (KIND,), "rate") == (KIND,)
    assert [o.name for o in asked_objectives("", (), "compare")] == ["preferred"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--objectives helpful:1-5"),
        ("kind:0-4", "1 to 5, not 0 to 4"),
        ("a:1", "NAME:LOW-HIGH"),
        ("a:1..2-3", "range"),
    ],
)
def test_bad_objectives_say_how_to_write_them(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked_objectives(text, (KIND,) if text else (), "rate")


def test_sides_are_a_fair_coin_of_person_and_pair_not_of_the_objective() -> None:
    plan = Plan([2] * 400, (KIND, BRIEF), "compare")
    sides = [swapped(question, 0, "ann") for question in plan]
    assert sides[::2] == sides[1::2]
    assert 160 < sum(sides[::2]) < 240  # 200 expected, standard deviation 10
    assert sides != [swapped(question, 1, "ann") for question in plan]
    assert sides != [swapped(question, 0, "bob") for question in plan]


# -- keys ----------------------------------------------------------------------------------------------------------


def test_ratings_skips_and_comments() -> None:
    state, kept = typed(rating(3, KIND), "9c good x⌫⌫↵5kc⎋2q")
    assert kept == [Commented(0, "good"), Rated(0, 5.0), Rated(1, None), Rated(2, 2.0)]
    assert state.ended
    assert state.answered == 3


def test_a_wide_range_is_typed() -> None:
    assert not keyed(LONG)
    state, kept = typed(rating(3, LONG), "42↵101↵7⎋.5↵-↵1⌫8↵")
    assert kept == [Rated(0, 42.0), Rated(1, 0.5), Rated(2, 8.0)]
    assert state.typing == ""
    assert "runs from 0 to 100" in typed(rating(1, LONG), "101↵")[0].notice


def test_verdicts_are_kept_in_the_order_of_the_record() -> None:
    session = comparing(40)
    _, kept = typed(session, "a" * 20 + "b" * 20)
    for place, event in enumerate(kept):
        turned = session.swapped(session.plan[place])
        assert event == Compared(place, "first" if (place < 20) != turned else "second", None, turned)
    assert len({event.swapped for event in kept if isinstance(event, Compared)}) == 2


def test_ties_skips_and_strength() -> None:
    _, kept = typed(comparing(5), "=kS3Ac why↵s9bs0s⎋A")
    assert [(e.outcome, e.strength) for e in kept if isinstance(e, Compared)][:2] == [("tie", None), ("abstain", None)]
    assert [e.strength for e in kept if isinstance(e, Compared)] == [None, None, 3.0, 9.0, None]
    assert kept[3] == Commented(3, "why")


def test_unknown_keys_change_nothing_and_say_so() -> None:
    session = comparing()
    state, kept = typed(session, "x5")
    assert (kept, state) == ([], State())
    assert "'5' is no key here" in state.notice
    assert "pasted" in session.press(State(), Key("paste", "ab="))[0].notice


def test_a_paste_goes_into_a_comment_with_its_lines() -> None:
    session = rating()
    state, _ = session.press(typed(session, "c")[0], Key("paste", "one\ntwo"))
    assert typed(session, "↵", state)[1] == [Commented(0, "one\ntwo")]


def test_when_all_is_answered_only_undo_and_quit_act() -> None:
    session = rating(1)
    state, kept = typed(session, "55c")
    assert (kept, session.question(state)) == ([Rated(0, 5.0)], None)
    assert typed(session, "u4q", state)[1] == [Undone(), Rated(0, 4.0)]


# -- laws ----------------------------------------------------------------------------------------------------------

letters = st.text(st.sampled_from(list("ab=skcuq?123450↵⌫⎋ x")), max_size=60)


def sessions() -> st.SearchStrategy[Session]:
    return st.builds(
        lambda replies, mode, seed: Session(Plan(replies, (KIND, LONG), mode), "me", seed),
        st.lists(st.integers(0, 3), max_size=6), st.sampled_from(["rate", "compare", "auto"]), st.integers(0, 9),
    )  # fmt: skip


@given(sessions(), letters)
def test_undo_is_the_inverse_of_every_event(session: Session, text: str) -> None:
    _, kept = typed(session, text)
    state = State()
    for event in kept:
        if not isinstance(event, Undone):
            assert fold(fold(state, event), Undone()) == State(state.events, state.answered)
        state = fold(state, event)


@given(sessions(), letters)
def test_to_take_everything_back_is_to_begin_anew(session: Session, text: str) -> None:
    state, _ = typed(session, text.replace("q", ""))
    state = State(state.events, state.answered)
    assert typed(session, "u" * len(state.events), state)[0] == State()


@given(sessions(), letters, st.integers(0, 60))
def test_a_resumed_session_equals_an_uninterrupted_one(session: Session, text: str, cut: int) -> None:
    """Cut anywhere but within something half typed, which is not kept."""
    text = text.replace("q", "")
    before, kept = typed(session, text[:cut])
    stored = [events.from_json(lines.parse(lines.dump(events.to_json(event)))) for event in kept]
    resumed = session.resume(stored)
    assert (resumed.events, resumed.answered) == (before.events, before.answered)
    if resumed == before:
        assert typed(session, text[cut:], resumed)[0] == typed(session, text)[0]


@pytest.mark.parametrize(
    "wrong",
    [[Undone()], [Rated(1, 2.0)], [Compared(0, "tie")], [Rated(0, 6.0)], [Rated(0, 1.0), Rated(1, 1.0), Rated(2, 1.0)]],
)
def test_a_journal_that_does_not_fit_the_questions_is_refused(wrong: list[Event]) -> None:
    with pytest.raises(DataError):
        rating(2).resume(wrong)


# -- records -------------------------------------------------------------------------------------------------------


def test_events_become_feedback_behind_what_was_there() -> None:
    rater, other = Rater("me", "nurses"), Rating({"kind": 2.0}, Rater("bob"))
    record = Record(user("Q"), (Response("x", {"kind": 2.0}, (other,)), Response("y")))
    plan = Plan([2], (KIND, BRIEF), "rate")
    said = [Rated(0, 5.0), Commented(1, "short!"), Rated(1, None), Rated(2, 1.0)]
    found = attach(record, 0, [given_by(rater, plan, said, 3)])
    assert found.responses[0].ratings == (other, Rating({"kind": 5.0, "brief": None}, rater))
    assert found.responses[0].comments == (Comment("short!", "brief", rater),)
    assert found.responses[0].scores == {"kind": 2.0}
    assert found.responses[1].ratings == (Rating({"kind": 1.0}, rater),)


def test_a_comment_on_a_pair_is_the_reason_of_its_verdict() -> None:
    record, rater = Record(user("Q"), (Response("x"), Response("y"))), Rater("me")
    plan = Plan([2], (KIND, BRIEF), "compare")
    said: list[Event] = [Commented(0, "why"), Commented(0, "so"), Compared(0, "second", 2.0), Commented(1, "well")]
    person = given_by(rater, plan, said, 1)
    found = attach(record, 0, [person])
    assert found.comparisons == (Comparison(0, 1, "second", "kind", 2.0, rater, "why\nso"),)
    assert (person.answers, person.comments, person.waiting) == (1, 3, 1)
    assert attach(record, 1, [person]) is record
