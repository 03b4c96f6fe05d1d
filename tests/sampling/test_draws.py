"""Draws: the nucleus is the smallest set, frequencies follow the distribution, seeds decide everything."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.errors import ConfigError
from pluralign.sampling.draws import distribution, draw, uniforms


@settings(max_examples=100)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(0.05, 1.0), st.floats(0.2, 3.0))
def test_the_nucleus_is_the_smallest_set_that_holds_the_mass(
    logits: list[float], top_p: float, temperature: float
) -> None:
    given_logits = torch.tensor([logits])
    full = torch.softmax(given_logits.double() / temperature, -1)[0]
    found = distribution(given_logits, torch.tensor([temperature]), torch.tensor([top_p]))[0].double().exp()
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    kept = found > 0
    mass = float(full[kept].sum())
    assert mass >= top_p - 1e-5
    assert mass - float(full[kept].min()) < top_p + 1e-5  # without its least token it would hold too little
    if not bool(kept.all()):
        assert float(full[kept].min()) >= float(full[~kept].max()) - 1e-6
    torch.testing.assert_close(found[kept], (full / full[kept].sum())[kept], atol=1e-5, rtol=1e-4)


def test_rows_have_their_own_temperature_and_nucleus() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]]).repeat(3, 1)
    rows = distribution(logits, torch.tensor([1.0, 0.5, 1.0]), torch.tensor([1.0, 1.0, 0.6]))
    for row, (temperature, top_p) in zip(rows, ((1.0, 1.0), (0.5, 1.0), (1.0, 0.6)), strict=True):
        alone = distribution(logits[:1], torch.tensor([temperature]), torch.tensor([top_p]))[0]
        torch.testing.assert_close(row, alone)
    assert rows[2].exp().tolist() == [1.0, 0.0, 0.0]


def test_frequencies_follow_the_distribution() -> None:
    wanted = torch.tensor([0.1, 0.0, 0.6, 0.3])
    num = 20_000
    drawn = draw(wanted.log().expand(num, -1), torch.from_numpy(np.random.default_rng(0).random(num)))
    counts = torch.bincount(drawn, minlength=4) / num
    assert counts[1] == 0
    assert float((counts - wanted).abs().max()) < 0.015


def test_a_draw_is_the_inverse_of_the_cumulative_distribution() -> None:
    logprobs = torch.tensor([0.25, 0.0, 0.5, 0.25]).log().expand(5, -1)
    ends = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 1 - 2**-53], dtype=torch.float64)
    assert draw(logprobs, ends).tolist() == [0, 0, 2, 2, 3]


def test_numbers_depend_on_the_seed_alone() -> None:
    assert np.array_equal(uniforms(5, 10)[:4], uniforms(5, 4))
    assert not np.array_equal(uniforms(5, 4), uniforms(6, 4))
    assert 0 <= uniforms((3 << 32) + 1, 1000).min() <= uniforms((3 << 32) + 1, 1000).max() < 1


@pytest.mark.parametrize("seed", [-1, 2**128])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match="seed"):
        uniforms(seed, 1)
