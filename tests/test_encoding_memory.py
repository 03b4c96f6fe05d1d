"""What an encoder keeps of strangers' dialogues is bounded; what it does not keep it reads just the same."""

from __future__ import annotations

from itertools import product

from transformers import AutoTokenizer

from pluralign import lab
from pluralign.data.record import Message, user
from pluralign.encoding import KEPT_LETTERS, KEPT_TURNS, Encoder


def test_of_long_dialogues_the_last_few_are_kept() -> None:
    encoder = Encoder(AutoTokenizer.from_pretrained(lab.base_path()))
    word = "printer "
    long = user(word * (KEPT_LETTERS // len(word) + 1))
    (number,) = encoder.text_ids(word)
    assert encoder.prompt(long).ids.count(number) == KEPT_LETTERS // len(word) + 1
    many = tuple(Message("user", "printer") for _ in range(KEPT_TURNS + 1))
    assert encoder.prompt(many).ids.count(number) == KEPT_TURNS + 1
    assert encoder._dialogue.cache_info().currsize == encoder._pieces.cache_info().currsize - 1 == 0
    for number_of_words in range(9):
        encoder.prompt(user(word * KEPT_LETTERS + word * number_of_words))
    assert encoder._long_dialogue.cache_info().currsize == 4
    encoder.prompt(user("printer"))
    assert encoder._dialogue.cache_info().currsize == 1


def test_orders_of_roles_are_kept_up_to_a_number() -> None:
    encoder = Encoder(AutoTokenizer.from_pretrained(lab.base_path()))
    for roles in product(("user", "assistant"), repeat=9):
        encoder.prompt(tuple(Message(role, "printer") for role in roles))
    assert encoder._pieces.cache_info().currsize == 256
