"""What makes the tuned row fast: memory that stays, oneDNN, a compact head; the same numbers come out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bench_shapes import TINY, workbench
from torch import nn

from pluralign.bench import allocator, memory, onednn
from pluralign.bench.train import _quiet
from pluralign.bench.trl_row import tuned

FAULTS = """
import resource, torch
from pluralign.bench import allocator

def faults(numbers=1 << 24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(numbers)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = faults()
with allocator.reusing():
    for _ in range(4):  # the heap grows piece by piece
        faults()
    kept = faults()
print(fresh, kept, faults(1 << 26))
"""


@pytest.mark.slow
@pytest.mark.skipif(not allocator.available(), reason="only glibc can be told to keep its memory")
def test_large_tensors_fault_once_where_memory_is_kept() -> None:
    """In a process of its own: what ran before decides what malloc keeps."""
    told = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120)
    fresh, kept, larger = map(int, told.stdout.split())
    assert kept < fresh / 10
    assert larger > fresh  # the default is back for what is larger than what was kept


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_onednn_gives_the_same_products() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4, bias=False)), torch.randn(2, 3, 6)
    model(inputs).square().sum().backward()
    own = [p.grad.clone() for p in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()
    with onednn.onednn_products(model):
        model(inputs).square().sum().backward()
    for mine, parameter in zip(own, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, mine)
    assert "forward" not in vars(model[0])
    assert onednn.onednn_is_faster(64, 64, repeats=1) in (True, False)


@pytest.mark.parametrize("with_onednn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_tuned_row_computes_what_the_shipped_one_does(tmp_path: Path, with_onednn: bool) -> None:
    with _quiet():
        step = workbench(tmp_path).trl_step(workbench(tmp_path).pairs)
        model = step.trainer.model
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.05)
        losses, gradients = [], []
        for around in (None, tuned(model, with_onednn)):
            if around is not None:
                around.__enter__()
            losses.append(step.gradients())
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
            model.zero_grad()
            if around is not None:
                around.__exit__(None, None, None)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(0.6931, abs=1e-4)  # ln 2 would hide every error
    for shipped, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, shipped, rtol=1e-4, atol=1e-6)


def test_a_trl_step_trains(tmp_path: Path) -> None:
    with _quiet():
        step = workbench(tmp_path).trl_step(workbench(tmp_path).pairs)
        name, watched = next((n, p) for n, p in step.trainer.model.named_parameters() if "lora_B" in n)
        before = watched.detach().clone()
        step()
        step()
    assert not torch.equal(before, watched), name
    assert step.trainer.model.get_base_model().config.vocab_size == TINY.vocabulary


GROWTH = """
import torch
from pluralign.bench import memory
torch.ones(1 << 26)  # a peak of before is none of the step's
held = []
print(memory.growth(lambda: held.append(torch.ones(1 << 25)), steps=2))  # 128 MB each
assert 0 < memory.resident() < memory.peak() + 10e6  # the kernel counts pages in batches
"""


@pytest.mark.slow
def test_growth_of_memory() -> None:
    """In a process of its own: another test may have told this one's allocator to keep what is freed."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert 200e6 < int(done.stdout) < 300e6


@pytest.mark.slow
def test_memory_of_a_row_in_a_process_of_its_own() -> None:
    found = memory.in_fresh_process(["low", "0.02", "1"])
    adapters, heads = 6 * 4 * 2 * 288 * 16, 4 * 16 * (288 + 32_000)  # numbers that train
    assert found.gradients == 4 * (adapters + heads)
    assert 0 <= found.optimizer - 2 * found.gradients < 1000  # two moments, and counts
    assert found.gradients + found.optimizer < found.growth < 2e9
    assert found.transient == found.growth - found.gradients - found.optimizer
