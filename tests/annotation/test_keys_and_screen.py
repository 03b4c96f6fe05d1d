"""Bytes to keys, and texts of strangers to what a terminal may show."""

from __future__ import annotations

import io
import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pluralign.annotation.keys import Decoder, keyboard
from pluralign.annotation.questions import Plan
from pluralign.annotation.screen import Screen
from pluralign.annotation.session import Key, Session, State
from pluralign.annotation.visible_text import visible
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, Response

OBJECTIVES = (Objective("kind", "friendly\x1b[2J", 1, 5), Objective("cost", low=-3, high=1e4, direction="lower"))


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"5a=", [Key("char", "5"), Key("char", "a"), Key("char", "=")]),
        ("é漢".encode(), [Key("char", "é"), Key("char", "漢")]),
        (b"\r\n\x7f\x08\x04", [Key("enter"), Key("enter"), Key("backspace"), Key("backspace"), Key("end")]),
        (b"\x1b[A\x1b[1;5B\x1bOP\x1bxq", [Key("char", "q")]),  # arrows, F1 and Alt type nothing
        (b"\x1b[200~a\r\nq\x1b[A\x1b[201~q", [Key("paste", "a\nq\x1b[A"), Key("char", "q")]),
        (b"\x01\x15\x00", []),
        (b"\xffa", [Key("char", "\ufffd"), Key("char", "a")]),
    ],
)
def test_bytes_become_keys(data: bytes, keys: list[Key]) -> None:
    assert Decoder().feed(data) == keys


@given(
    st.binary(max_size=40) | st.text(st.sampled_from(list("\x1b[O~20aB;é\r")), max_size=30).map(str.encode), st.data()
)
def test_portions_do_not_matter(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    decoder, found = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found += decoder.feed(data[start:end])
    assert found == Decoder().feed(data)


def test_an_escape_alone_is_a_key_once_nothing_follows() -> None:
    decoder = Decoder()
    assert (decoder.feed(b"\x1b"), decoder.waits, decoder.flush(), decoder.waits) == ([], True, [Key("cancel")], False)
    decoder.feed(b"\x1b[")
    assert not decoder.waits
    assert decoder.flush() == []


def test_what_could_drive_a_terminal_is_shown() -> None:
    assert visible("a\x1b[31mred\x07\r\nb\rc\x9b\x7f") == "a␛[31mred␇\nb␍c<U+009B>␡"
    assert visible("\u202eevil\u2066x\u2029") == "<U+202E>evil<U+2066>x<U+2029>"
    assert visible("مرحبا \u200fשלום\té漢👩‍👧") == "مرحبا \u200fשלום\té漢👩‍👧"


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    shown = visible(text)
    assert not [
        letter for letter in shown if (ord(letter) < 0x20 and letter not in "\n\t") or 0x7F <= ord(letter) < 0xA0
    ]
    assert visible(shown) == shown


def drawn(width: int, text: str, keys: str = "", terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, height=20, force_terminal=terminal, color_system=None, legacy_windows=False
    )
    session = Session(Plan([2], OBJECTIVES, "compare" if width % 2 else "rate"))
    record = Record((Message("system", text), Message("user", text)), (Response(text), Response(text, finished=False)))
    state, screen = State(), Screen(console)
    screen.draw(session, state, record)
    for key in keys:
        state, _ = session.press(state, Key("char", key))
        screen.draw(session, state, record)
    return file.getvalue()


@given(
    st.integers(1, 60), st.text(max_size=80), st.text(st.sampled_from(list("ab1c?k漢 u")), max_size=8), st.booleans()
)
def test_every_text_is_drawn_at_every_width(width: int, text: str, keys: str, terminal: bool) -> None:
    assert drawn(width, text, keys, terminal)


def test_a_page_without_a_terminal_has_no_control_characters_and_no_markup() -> None:
    shown = drawn(81, "\x1b]0;title\x07 [red]not markup[/red] :smile:\x1b[2J")
    assert "\x1b" not in shown
    assert "[red]not markup[/red] :smile:" in shown
    assert "␛]0;title␇" in shown
    assert "kind (friendly␛[2J): which reply is better?" in shown
    assert "lower is better" in drawn(80, "x", keys="k")


def test_the_same_texts_are_printed_once_where_pages_follow_one_another() -> None:
    assert drawn(81, "TEXT", "?x").count("TEXT") == 4  # two turns, two replies
    assert drawn(81, "TEXT", "?x", terminal=True).count("TEXT") == 12


def test_typing_redraws_one_line_and_shows_its_end() -> None:
    shown = drawn(21, "TEXT", "c" + "0123456789" * 3, terminal=True)
    assert shown.count("TEXT") == 8  # the question, and once more with "type the comment"
    last = shown.rpartition("\r\x1b[K> ")[2]
    assert last.endswith("9")
    assert 8 <= len(last) <= 17


def test_a_signal_that_another_thread_takes_is_noticed_at_once() -> None:
    """The kernel gives it to whatever thread is at hand; here the main one refuses it. A key ends the wait in any case."""
    reading, writing = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def other() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        time.sleep(0.3)  # the main thread waits for a key by now
        os.kill(os.getpid(), signal.SIGCONT)
        noticed.append(typed.wait(10))
        os.write(writing, b"q")

    typed, noticed = threading.Event(), []
    with keyboard(reading, lambda sequence: None) as keys:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
        thread = threading.Thread(target=other)
        thread.start()
        try:
            first = next(keys)
            typed.set()
            assert first == Key("redraw")
            assert next(keys) == Key("char", "q")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            thread.join()
    assert noticed == [True], "the signal was seen with the next key only"
    os.close(reading)
    os.close(writing)
