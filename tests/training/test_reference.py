"""Reference log-probabilities: computed once, kept, verified."""

import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from tabular_policy import TabularPolicy, objectives, random_policy, random_source

from pluralign.data.record import user
from pluralign.errors import RunError
from pluralign.training.device import Compute
from pluralign.training.reference import PROBES, reference_logprobs
from pluralign.training.rows import Rows


class Counted(TabularPolicy):
    """Counts the rows whose reference was computed."""

    computed = 0

    def reference_logprobs(self, batch):
        self.computed += len(batch.input_ids)
        return super().reference_logprobs(batch)


def counted(reference: torch.Tensor | None = None) -> Counted:
    return Counted(random_policy().model.reference if reference is None else reference, objectives(3))


def compute(policy, folder, texts=None):
    rows = Rows(policy.encoder)
    numbers = rows.numbers(list(random_source().texts()) if texts is None else texts)
    return rows, numbers, reference_logprobs(policy, rows, numbers, Compute(), folder)


def test_values_are_those_of_the_reference(tmp_path):
    policy = counted()
    policy.model.heads.data += 1.0  # a trained policy: its reference is still inside
    rows, numbers, reference = compute(policy, tmp_path)
    exact = torch.log_softmax(policy.model.reference, -1)
    for x in range(6):
        for y in range(5):
            assert reference(rows.number(user(f"p{x}"), f"y{y}")) == pytest.approx(exact[x, y].item())
    assert policy.computed == len(numbers) == 30


def test_the_second_time_it_is_only_read(tmp_path, caplog):
    first = compute(counted(), tmp_path)[2]
    policy = counted()
    _, numbers, second = compute(policy, tmp_path)
    assert policy.computed == PROBES
    assert [first(number) for number in numbers] == [second(number) for number in numbers]
    assert not caplog.records


def test_another_model_or_other_data_is_another_file(tmp_path):
    compute(counted(), tmp_path)
    other = counted(torch.zeros(6, 5))
    compute(other, tmp_path)
    fewer = counted()
    compute(fewer, tmp_path, list(random_source().texts())[:7])
    assert (other.computed, fewer.computed) == (30, 7)
    assert len(list(tmp_path.glob("reference-*"))) == 3


def test_a_reference_that_training_overwrites_is_keyed_by_the_trained_weights_too(tmp_path):
    policy = counted()
    policy.steering.reference_inside = False
    compute(policy, tmp_path)
    policy.model.heads.data += 1.0
    compute(policy, tmp_path)
    assert policy.computed == 60


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "is damaged"),
        (lambda path: path.write_bytes(b"\xff" * 200), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x01"), "something else"),
        (lambda path: save_file(load_file(path), path), "something else"),  # no key
        (lambda path: save_file({"logprobs": torch.zeros(3)}, path, {"key": "?"}), "something else"),
    ],
)
def test_a_damaged_file_is_computed_again_with_a_line(tmp_path, caplog, damage, said):
    _, numbers, before = compute(counted(), tmp_path)
    (path,) = tmp_path.glob("reference-*")
    damage(path)
    policy = counted()
    with caplog.at_level(logging.WARNING):
        _, _, after = compute(policy, tmp_path)
    assert policy.computed == 30
    assert said in caplog.text
    assert [before(number) for number in numbers] == [after(number) for number in numbers]
    again = counted()
    compute(again, tmp_path)
    assert again.computed == PROBES


def test_a_model_that_only_claims_to_be_the_same_is_found_out(tmp_path, caplog):
    class Liar(Counted):
        def fingerprint(self):
            return "the same"

    texts = list(random_source().texts())
    compute(Liar(torch.zeros(6, 5), objectives(3)), tmp_path)
    policy = Liar(torch.arange(30.0).view(6, 5), objectives(3))
    rows, _, reference = compute(policy, tmp_path)
    assert "is not from this model" in caplog.text
    assert policy.computed == PROBES + len(texts)
    exact = torch.log_softmax(policy.model.reference, -1)
    assert reference(rows.number(user("p1"), "y2")) == pytest.approx(exact[1, 2].item())


def test_an_impossible_response_and_an_unknown_row_are_errors(tmp_path):
    impossible = torch.zeros(6, 5)
    impossible[2, 3] = -torch.inf
    with pytest.raises(RunError, match="probability 0"):
        compute(counted(impossible), tmp_path)
    _, _, reference = compute(counted(), tmp_path)
    with pytest.raises(RunError, match=r"texts\(\)"):
        reference(999)
