"""The fast head against plain autograd: the loss and every gradient tensor, for every kind of head and of weights."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from pluralign.losses.dpo import CDPO
from pluralign.losses.outputs import Judgements, Loss, Metrics, Outputs, total
from pluralign.steering import fused, softmax, units
from pluralign.steering.deltas import Deltas, PluralLinear, SteerState
from pluralign.steering.head import Epilogue, Head
from pluralign.steering.passes import summed_logprobs, supports
from pluralign.steering.terms import Workspace
from pluralign.training.optim import Optim

V, WIDTH, K, ROWS = 50, 12, 3, 6
HEADS = {
    "full": {"rank": None},
    "low": {"rank": 4},
    "none": {"num": 0},
    "none, trained, biased": {"num": 0, "bias": True, "train_base": True},
    "none, shared": {"num": 0, "shared": 2},
    "full, shared full": {"rank": None, "shared": None},
    "full, biased, all trained": {"rank": None, "shared": 2, "bias": True, "train_base": True},
    "low, shared, biased": {"rank": 4, "shared": 2, "bias": True},
}
EPILOGUES = {"plain": Epilogue(), "scaled": Epilogue(0.4), "capped": Epilogue(1.0, 3.0), "both": Epilogue(2.0, 2.0)}
WEIGHTS = ("simplex", "ratios", "negative", "zero", "one", "strength", "shared by all", "base share")


def head(
    num: int = K, rank: int | None = None, shared: int | str | None = "", bias: bool = False, train_base: bool = False
) -> nn.Module:
    torch.manual_seed(1)
    base = nn.Linear(WIDTH, V, bias=bias).requires_grad_(train_base)
    nn.init.normal_(base.weight, std=0.4)
    if not num and shared == "":
        return base.requires_grad_(True)
    own = Deltas(num, V, WIDTH, rank) if num else None
    layer = PluralLinear(base, SteerState(), own, None if shared == "" else Deltas(1, V, WIDTH, shared, 1.5))
    for parameter in [p for part in (own, layer.shared) if part is not None for p in part.parameters()]:
        nn.init.normal_(parameter, std=0.2)
    return layer


def table(kind: str, conditions: int, groups: int, num: int = K) -> Tensor:
    """Coefficients [groups, L, K + 2]; without objectives every kind but "strength" is the same."""
    rows = torch.ones(groups, conditions, num + 2)
    weights = torch.rand(groups, conditions, num) + 0.1
    weights = torch.randn_like(weights) if kind == "negative" else weights
    rows[..., :num] = weights if kind == "negative" else weights / weights.sum(-1, keepdim=True)
    if kind == "ratios":
        rows[..., :num] *= 1.7
    if kind == "zero" and num:
        rows[..., 0] = 0
    if kind == "one" and num:
        rows[..., :num] = torch.eye(num)[torch.arange(conditions) % num]
    if kind == "strength":
        rows[..., -2] = torch.rand(groups, conditions)
    if kind == "shared by all":
        rows[:] = rows[:1].clone()
    if kind == "base share" and num:
        rows[..., -1] = rows[..., :num].sum(-1)
    return rows


def problem(kind: str = "simplex", conditions: int = 3, num: int = K, rows: int = ROWS) -> dict:
    """Groups of two rows, each pair judged both ways round, under every condition."""
    torch.manual_seed(2)
    groups = torch.arange(rows) // 2
    lengths = torch.randint(1, 7, (rows,))
    pairs = [(row, row ^ 1, place) for row in range(rows) for place in range(conditions)]
    chosen, rejected, condition = (torch.tensor(column) for column in zip(*pairs, strict=True))
    count = int(lengths.sum())
    return {
        "hidden": torch.randn(count, WIDTH),
        "targets": torch.randint(0, V, (count,)),
        "rows": torch.arange(rows).repeat_interleave(lengths),
        "coefficients": table(kind, conditions, rows // 2, num)[groups],
        "judged": fused.Judged(
            torch.randn(rows) - 20, lengths, groups, Judgements(chosen, rejected, condition, torch.zeros(len(pairs)))
        ),
    }


def naive(made: Head, task: dict, loss: Loss, scale: float) -> tuple[Tensor, Tensor, Metrics]:
    tokens = made.token_logprobs(task["hidden"], task["targets"], task["coefficients"], task["rows"])
    summed = tokens.new_zeros(task["coefficients"].shape[:2]).index_add(0, task["rows"], tokens)
    judged = task["judged"]
    return total(loss, Outputs(summed, judged.reference, judged.lengths), judged.judgements, scale)


def found(made: Head, task: dict, loss: Loss, fast: bool, force=None, trunk: bool = True) -> dict[str, Tensor]:
    """The scaled loss, the losses, the metrics, and the gradients of the hidden states and of every parameter."""
    made.layer.zero_grad()
    hidden = task["hidden"].clone().requires_grad_(trunk)
    mine = {**task, "hidden": hidden}
    with_loss = fused.losses(made, **mine, loss=loss, scale=0.3, force=force) if fast else naive(made, mine, loss, 0.3)
    (with_loss[0] * 2).backward()
    own = {name: p.grad for name, p in made.layer.named_parameters() if p.requires_grad and p.grad is not None}
    values = {"total": with_loss[0].detach(), "losses": with_loss[1], **with_loss[2], **own}
    return {**values, "hidden": hidden.grad} if trunk else values


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], limit: float = 1e-5) -> None:
    """What has no gradient on one side must have 0 on the other."""
    for name in one.keys() | other.keys():
        some = one.get(name, other.get(name))
        left, right = (each.get(name, torch.zeros_like(some)).double() for each in (one, other))
        assert left.shape == right.shape, name
        assert (left - right).norm() <= limit * right.norm() + 1e-12, (name, (left - right).norm() / right.norm())


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("name", HEADS)
def test_every_gradient_is_that_of_plain_autograd(name, epilogue):
    """Whatever way the head chooses or is told to. Each number of conditions meets each kind of weights, in turn."""
    layer = head(**HEADS[name])
    made = Head(layer, EPILOGUES[epilogue])
    turns = itertools.cycle((1, 2, 7))
    for kind, conditions in zip(WEIGHTS, itertools.islice(turns, [*EPILOGUES].index(epilogue), None), strict=False):
        task = problem(kind, conditions, HEADS[name].get("num", K))
        plain = found(made, task, CDPO(), False)
        for force in (None, "logits", "weights", "ranks"):
            assert_same(found(made, task, CDPO(), True, force), plain)


@pytest.mark.parametrize("conditions", [1, 2, 3, 5, 15])
@pytest.mark.parametrize("name", ["full", "low"])
def test_a_frozen_trunk_is_not_asked_for_gradients(name, conditions):
    made, task = Head(head(**HEADS[name])), problem(conditions=conditions)
    assert_same(found(made, task, CDPO(), True, trunk=False), found(made, task, CDPO(), False, trunk=False))


class Coupled(CDPO):
    """A loss that weighs every example by the batch's mean."""

    couples = "batch"

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        losses, metrics = super().__call__(outputs, judgements)
        return losses * losses.mean(), metrics


@pytest.mark.parametrize("limits", [(1 << 20, 1 << 23, 1 << 25), (60, 1 << 23, 1 << 25), (60, 120, 900), (1, 1, 1)])
@pytest.mark.parametrize("loss", [CDPO(), Coupled()], ids=["pairs", "batch"])
@pytest.mark.parametrize("name", ["full", "low, shared, biased"])
def test_units_and_pieces_change_nothing(monkeypatch, name, loss, limits):
    """One unit or many, one product or many, logits kept or made again, a piece of the softmax or all at once."""
    made, task = Head(head(**HEADS[name])), problem(conditions=5)
    whole = found(made, task, loss, False)
    for constant, value in zip(("UNIT_NUMBERS", "PIECE_NUMBERS", "RETAINED_NUMBERS"), limits, strict=True):
        monkeypatch.setitem(vars(units), constant, value)  # a size, not a stand-in: the real code runs
    for numbers in (1, 1 << 19):
        monkeypatch.setitem(softmax.PIECE_NUMBERS, "cpu", numbers)
        assert_same(found(made, task, loss, True), whole)


def test_examples_across_groups_are_judged_together():
    made, task = Head(head(**HEADS["full"])), problem()
    told = task["judged"].judgements
    crossed = Judgements(told.chosen, (told.chosen + 3) % ROWS, told.condition, told.margin)
    task["judged"] = fused.Judged(task["judged"].reference, task["judged"].lengths, task["judged"].groups, crossed)
    assert_same(found(made, task, CDPO(), True), found(made, task, CDPO(), False))


@pytest.mark.parametrize("shift", [-200.0, 200.0])
@pytest.mark.parametrize("name", ["none, trained, biased", "low, shared, biased"])
def test_logits_far_from_zero_neither_overflow_nor_vanish(name, shift):
    layer = head(**HEADS[name])
    bias = getattr(layer, "base", layer).bias
    with torch.no_grad():
        bias.add_(shift)
    made, task = Head(layer), problem(num=HEADS[name].get("num", K))
    assert_same(found(made, task, CDPO(), True), found(made, task, CDPO(), False), limit=1e-4)


def test_a_head_nobody_asks_for_is_not_touched():
    """It has no gradient, so that AdamW neither moves it nor keeps moments; it may hold anything, even NaN."""
    layer = head(**HEADS["full"])
    nn.init.constant_(layer.objectives.full[0], torch.nan)
    values = found(Head(layer), problem("zero"), CDPO(), True)
    assert "objectives.full.0" not in values
    assert torch.isfinite(values["hidden"]).all() and torch.isfinite(values["total"])
    before = [change.detach().clone() for change in layer.objectives.full]
    optimizer, _ = Optim(lr=0.1).build({"heads": list(layer.objectives.full)})
    optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before[1:], layer.objectives.full[1:], strict=True)]
    assert moved == [True, True] and layer.objectives.full[0].isnan().all()
    assert [change in optimizer.state for change in layer.objectives.full] == [False, True, True]


def test_a_thin_head_nobody_asks_for_is_not_touched():
    """It stands in a stack: its gradient is 0."""
    layer = head(**HEADS["low"])
    nn.init.constant_(layer.objectives.up[0], torch.nan)
    values = found(Head(layer), problem("zero"), CDPO(), True)
    assert all(torch.count_nonzero(values[f"objectives.{name}"][0]) == 0 for name in ("up", "down"))
    assert torch.isfinite(values["hidden"]).all() and torch.isfinite(values["total"])


@pytest.mark.parametrize("name", ["full", "low, shared, biased", "none, trained, biased"])
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_products_are_as_near_as_plain_autograds(name, autocast):
    """Products rounded to 8 bits: no further from float32 than plain autograd in bfloat16 is, or within 1 %."""
    layer = head(**HEADS[name])
    task = problem(conditions=7, num=HEADS[name].get("num", K))
    exact = found(Head(layer), task, CDPO(), False)
    if not autocast:
        layer, task = layer.to(torch.bfloat16), {**task, "hidden": task["hidden"].to(torch.bfloat16)}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        fast, plain = (found(Head(layer), task, CDPO(), fast) for fast in (True, False))
    assert abs(fast["total"] - exact["total"]) < 5e-3 * exact["total"]
    for name_, tensor in exact.items():
        if name_ in fast and tensor.dim() > 1:
            off, theirs = (
                float((each[name_].double() - tensor.double()).norm() / tensor.norm()) for each in (fast, plain)
            )
            assert off < max(1.5 * theirs, 0.01), name_
            assert fast[name_].dtype == plain[name_].dtype


def test_gradients_are_handed_out_once_and_the_workspace_can_be_shared_by_calls():
    made, task = Head(head(**HEADS["low"])), problem()
    hidden = task["hidden"].clone().requires_grad_()
    first, *_ = fused.losses(made, **{**task, "hidden": hidden}, loss=CDPO())
    second, *_ = fused.losses(made, **{**task, "hidden": hidden}, loss=CDPO(), scale=-1.0)
    (first + second).backward()  # two pending calls on the same buffers
    assert hidden.grad.abs().max() < 1e-6
    with pytest.raises(RuntimeError, match="handed out already"):
        first.backward()


@pytest.mark.parametrize("name", HEADS)
def test_log_probabilities_without_gradients(name):
    made, task = Head(head(**HEADS[name]), EPILOGUES["both"]), problem(num=HEADS[name].get("num", K), conditions=4)
    parts = [task[part] for part in ("hidden", "targets", "rows", "coefficients")]
    tokens = made.token_logprobs(parts[0], parts[1], parts[3], parts[2])
    expected = tokens.new_zeros(ROWS, 4).index_add(0, parts[2], tokens)
    assert torch.allclose(summed_logprobs(made, *parts).double(), expected.double(), atol=1e-4)


def test_a_layer_of_an_unknown_kind_is_left_to_plain_autograd():
    class Odd(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs).sin()

    hooked = nn.Linear(WIDTH, V)
    hooked.register_forward_hook(lambda *_: None)
    assert supports(Head(nn.Linear(WIDTH, V)))
    assert not supports(Head(Odd(WIDTH, V))) and not supports(Head(hooked))


def test_lent_memory_is_used_again_only_when_nobody_holds_it():
    """Gradients go to the parameters and come back when these drop them, however they were shared meanwhile."""
    workspace, like = Workspace(), torch.zeros(1)
    first = workspace.lend((3, 4), like, torch.float32)
    place, part = first.data_ptr(), first[1].detach()
    del first
    second = workspace.lend((3, 4), like, torch.float32)
    assert second.data_ptr() != place  # a row of the first is still held
    del part
    assert workspace.lend((4, 3), like, torch.float32).data_ptr() == place
    assert workspace.lend((3, 4), like, torch.float64).dtype == torch.float64


def test_gradients_of_two_calls_share_no_memory():
    made, task = Head(head(**HEADS["full"])), problem()
    weight = made.layer.objectives.full[0]
    kept = []
    for _ in range(2):
        made.layer.zero_grad()
        fused.losses(made, **task, loss=CDPO())[0].backward()
        kept.append(weight.grad)
    assert torch.equal(*kept) and kept[0].data_ptr() != kept[1].data_ptr()
    mine = {change.grad.data_ptr() for change in made.layer.objectives.full}
    made.layer.zero_grad()
    del kept[1]
    fused.losses(made, **task, loss=CDPO())[0].backward()
    assert {change.grad.data_ptr() for change in made.layer.objectives.full} == mine
