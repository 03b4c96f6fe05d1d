"""Several threads encode at once, as a server's do: each reads what it would have read alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest
from transformers import AutoTokenizer

from pluralign import lab
from pluralign.encoding import Encoder

ROUNDS = 800


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times more often than they do by default."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def test_text_and_template_are_read_at_the_same_time() -> None:
    """The template's special tokens stay whole while another thread splits those that people write."""
    encoder = Encoder(AutoTokenizer.from_pretrained(lab.base_path()))
    end = encoder.tokenizer.eos_token
    piece, text = f"{end}<|user|>", f"my printer {end} is broken" * 20
    alone = encoder._read_template(piece), encoder.text_ids(text)
    found: tuple[set[tuple[int, ...]], set[tuple[int, ...]]] = (set(), set())

    def again(read: Callable[[str], Iterable[int]], given: str, into: set[tuple[int, ...]]) -> None:
        into.update(tuple(read(given)) for _ in range(ROUNDS))

    threads = [
        threading.Thread(target=again, args=(encoder._read_template, piece, found[0])),
        threading.Thread(target=again, args=(encoder.text_ids, text, found[1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ({tuple(alone[0])}, {tuple(alone[1])})
    assert len(alone[0]) == 2
