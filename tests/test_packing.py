"""Packed rows: every token once, where it belongs, and no more of them than rows that stand apart."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.masks import CHUNKED, FULL, SLIDING, rule, visible
from pluralign.packing import TOKENS_PER_BATCH, Layout, batches, pack

CHEAP_ATTENTION = 1e9  # only the number of tokens counts
CPU = torch.device("cpu")


def laid(chains: list[tuple[list[int], list[int]]], linear: float | None, keys: list[bytes] | None = None) -> Layout:
    """(prompt, what is read of the response) pairs, right-padded and packed."""
    width = max(len(prompt) + len(answer) for prompt, answer in chains)
    ids = np.zeros((len(chains), width), dtype=np.int64)
    for row, (prompt, answer) in enumerate(chains):
        ids[row, : len(prompt) + len(answer)] = [*prompt, *answer]
    starts = [len(prompt) for prompt, _ in chains]
    lengths = [len(prompt) + len(answer) for prompt, answer in chains]
    return pack(ids, starts, lengths, keys or [b""] * len(chains), linear)


def seen_in(layout: Layout, kind: str, limit: int | None = None) -> torch.Tensor:
    return visible(layout, rule(layout, kind, limit, CPU), CPU)


def test_the_picture_of_the_modules_text() -> None:
    layout = laid([([1, 2, 3, 4], [5, 6, 7]), ([1, 2, 3, 4], [8, 9]), ([1, 2], [8, 9, 5])], CHEAP_ATTENTION)
    assert layout.shared
    assert layout.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 8, 9, 5]]
    assert layout.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 4, 5, 0, 1, 2, 3, 4]]
    assert layout.prompt.tolist() == [[0] * 9 + [1] * 5]
    assert layout.branch.tolist() == [[0, 0, 0, 0, 1, 1, 1, 2, 2, 0, 0, 1, 1, 1]]
    assert layout.owner.tolist() == [[0] * 7 + [1] * 2 + [2] * 5]
    assert layout.places.tolist() == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 7, 8, 0], [9, 10, 11, 12, 13, 0, 0]]


def test_what_sees_what() -> None:
    layout = laid([([1, 2], [3]), ([1, 2], [4, 5])], CHEAP_ATTENTION)
    seen = seen_in(layout, FULL, None)[0].int().tolist()
    assert seen == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    # a window of 2 positions: the second branch's first token still sees the prompt's last, three places back
    seen = seen_in(layout, SLIDING, 2)[0].int().tolist()
    assert seen == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 1, 1]]
    # chunks of 3 positions: 0 1 2 | 3
    seen = seen_in(layout, CHUNKED, 3)[0].int().tolist()
    assert seen == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 0, 0, 1]]


def test_equal_rows_are_read_once() -> None:
    for linear in (CHEAP_ATTENTION, None):
        layout = laid([([1, 2], [3, 4]), ([1, 2], [3, 4]), ([1, 2], [3, 4])], linear)
        assert layout.ids.tolist() == [[1, 2, 3, 4]]
        assert not layout.shared
        assert layout.places.tolist() == [[0, 1, 2, 3]] * 3


def test_other_parameters_read_their_own_prompt() -> None:
    chains = [([1, 2], [3]), ([1, 2], [4]), ([1, 2], [3])]
    layout = laid(chains, CHEAP_ATTENTION, [b"a", b"a", b"b"])
    assert layout.ids.tolist() == [[1, 2, 3, 4, 1, 2, 3]]
    assert layout.owner.tolist() == [[0, 0, 0, 1, 2, 2, 2]]


def test_a_response_of_one_token_reads_only_the_prompt() -> None:
    layout = laid([([1, 2], []), ([1, 2], [3])], CHEAP_ATTENTION)
    assert layout.ids.tolist() == [[1, 2, 3]]
    assert layout.places.tolist() == [[0, 1, 0], [0, 1, 2]]


def test_a_model_without_masks_keeps_rows_apart() -> None:
    layout = laid([([1, 2], [3, 4]), ([1, 2], [5])], None)
    assert layout.ids.tolist() == [[1, 2, 3, 4], [1, 2, 5, 0]]
    assert not layout.shared


def test_the_cost_decides() -> None:
    """Hand-worked, in units of T²: linear layers for nothing, so that only attention counts.

    Two responses of 10 after prompts of 4: apart 2 · 14² / 2 = 196, together 24² = 576. Nine of 1 after a prompt of 9:
    apart 9 · 10² / 2 = 450, together 18² = 324. With linear layers as dear as 1000 tokens, fewest tokens win.
    """
    two = [([1] * 4, [2] * 10), ([1] * 4, [3] * 10)]
    nine = [([1] * 9, [token]) for token in range(2, 11)]
    assert laid(two, 0.0).ids.shape == (2, 14)
    assert laid(nine, 0.0).ids.shape == (1, 18)
    assert laid(two, 1000.0).ids.shape == (1, 24)


def test_unequal_prompts_fill_rows_up() -> None:
    """20 + 10 + 9 tokens: 39 in one row cost 39 (l + 39), two rows of 20 cost 40 (l + 20): cheaper below l = 721."""
    chains = [([1] * 18, [2, 3]), ([4] * 8, [5, 6]), ([7] * 8, [8])]
    assert laid(chains, 700.0).ids.shape == (2, 20)
    assert laid(chains, 750.0).ids.shape == (1, 39)


def test_a_prompt_with_many_responses_is_cut() -> None:
    """64 responses of 16 after a prompt of 16, four to a row: 16 · 80 (200 + 80); eight cost 8 · 144 (200 + 144)."""
    layout = laid([([1] * 16, [2 + n] * 16) for n in range(64)], 200.0)
    assert layout.ids.shape == (16, 80)


token_lists = st.lists(st.integers(1, 3), max_size=5)
rows_of_few_tokens = st.lists(
    st.tuples(st.lists(st.integers(1, 2), min_size=1, max_size=4), token_lists, st.sampled_from([b"a", b"b"])),
    min_size=1,
    max_size=12,
)


@given(rows_of_few_tokens, st.sampled_from([None, 0.0, 3.0, 20.0, CHEAP_ATTENTION]))
def test_a_row_reads_its_own_tokens_and_no_others(rows, linear) -> None:
    chains = [(prompt, answer) for prompt, answer, _ in rows]
    layout = laid(chains, linear, [key for _, _, key in rows])
    width = layout.ids.shape[1]
    seen = seen_in(layout, FULL).numpy()
    for row, (prompt, answer) in enumerate(chains):
        length = len(prompt) + len(answer)
        places = layout.places[row, :length]
        assert layout.ids.flatten()[places].tolist() == [*prompt, *answer]
        assert layout.positions.flatten()[places].tolist() == list(range(length))
        assert {rows[owner][2] for owner in layout.owner.flatten()[places]} == {rows[row][2]}
        for count, place in enumerate(places, 1):
            line, column = divmod(int(place), width)
            assert (np.nonzero(seen[line, column])[0] + line * width).tolist() == sorted(places[:count])


@given(rows_of_few_tokens)
def test_with_cheap_attention_nothing_is_read_twice(rows) -> None:
    layout = laid([(p, a) for p, a, _ in rows], CHEAP_ATTENTION, [key for _, _, key in rows])
    prompts = {(key, tuple(prompt)) for prompt, _, key in rows}
    branches = {(key, tuple(prompt), tuple(answer)) for prompt, answer, key in rows}
    fewest = sum(len(prompt) for _, prompt in prompts) + sum(len(answer) for _, _, answer in branches)
    assert layout.ids.size == fewest


def test_batches_keep_a_prompts_responses_together() -> None:
    """2000 + 3 · 2000 fill one batch; the three of "b" would not fit behind the two of "a"."""
    assert list(batches([2000, 1900, 1500, 2000, 1800], ["a", "b", "b", "a", "b"])) == [[0, 3], [1, 4, 2]]
    assert list(batches([2000, 1900, 1500, 2000, 1800])) == [[0, 3, 1, 4], [2]]
    assert list(batches([5000, 5000, 9000], ["a", "a", "b"])) == [[2], [0], [1]]


@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(0, 3)), max_size=30))
def test_every_row_is_in_one_batch_within_the_budget(rows) -> None:
    lengths = [length for length, _ in rows]
    found = list(batches(lengths, [prompt for _, prompt in rows]))
    assert sorted(place for batch in found for place in batch) == list(range(len(rows)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= TOKENS_PER_BATCH
