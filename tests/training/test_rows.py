"""Rows: each text tokenised once; a reply that was cut off is read without an end token, wherever groups come from."""

from __future__ import annotations

import pytest
import torch

import tiny
from pluralign.data.conversions import imitation
from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.conversions.power_set import power_set
from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.group import Group, Preference, cut_off
from pluralign.data.record import Record, Response, user
from pluralign.errors import DataError
from pluralign.steering.plural import PluralSteering
from pluralign.training.batching import Batch, Collator
from pluralign.training.rows import Rows
from pluralign.training.source import GroupSource
from pluralign.training.tradeoff import TradeOffSource

PROMPT = user("tell me a joke")
END = 1
RECORD = Record(
    PROMPT,
    (
        Response("very short", scores={"kind": 0.0, "brief": 1.0, "funny": 0.0}),
        Response("very long and", scores={"kind": 1.0, "brief": 0.0, "funny": 1.0}, finished=False),
    ),
)


def test_the_end_token_is_what_tells_finished_from_cut_off() -> None:
    rows = Rows(tiny.policy(PluralSteering()).encoder)
    ended, cut = rows.number(PROMPT, "very long"), rows.number(PROMPT, "very long", False)
    assert ended is not None and cut is not None and ended != cut
    assert rows.ids[ended].tolist() == [*rows.ids[cut].tolist(), END]
    assert rows.content([ended]) != rows.content([cut])
    assert rows.number(PROMPT, "very long", True) == ended  # once each
    assert rows.numbers([(PROMPT, "very long", False), (PROMPT, "very long", True)]) == [cut, ended]
    assert len(rows) == 2


def test_a_cut_off_reply_without_a_token_teaches_nothing_and_is_counted() -> None:
    rows = Rows(tiny.policy(PluralSteering()).encoder)
    assert rows.number(PROMPT, "", False) is None
    assert rows.rejected == 1
    assert rows.number(PROMPT, "") is not None  # an empty reply that ended is one end token


def test_the_log_probability_of_a_cut_off_reply_leaves_out_the_end() -> None:
    policy = tiny.policy(PluralSteering(), shaken=0.2)
    texts = ("very long and", "very long and")
    both = Group(PROMPT, texts, unfinished=(1,))
    batch = Collator(policy)([both])
    assert batch.lengths.tolist() == [4, 3]
    with torch.no_grad():
        ended, cut = policy.outputs(batch).logprobs[:, 0]
        with policy.steering.steered(policy.model, policy.coefficients([None])):
            logits = policy.model(input_ids=batch.input_ids[:1]).logits
    end = torch.log_softmax(logits[0, -2].float(), -1)[END]
    assert float(ended - cut) == pytest.approx(float(end), abs=1e-4)


def _ends(batch: Batch) -> list[bool]:
    last = batch.attention_mask.sum(1) - 1
    return (batch.input_ids[torch.arange(len(last)), last] == END).tolist()


def test_every_view_of_a_record_knows_which_reply_was_cut_off() -> None:
    policy = tiny.policy(PluralSteering())
    weights = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    judged = trade_off(RECORD, tiny.OBJECTIVES, weights)
    assert judged is not None
    for group in (judged, *power_set(RECORD, tiny.OBJECTIVES), *one_hot(RECORD, tiny.OBJECTIVES)):
        assert group.unfinished == (1,)
        assert _ends(Collator(policy)([group])) == [True, False]
        for single in explode(group):
            assert single.responses[single.unfinished[0]] == "very long and"
    imitated = imitation.unasked(RECORD, tiny.OBJECTIVES)
    assert {group.responses: group.unfinished for group in imitated} == {("very short",): (), ("very long and",): (0,)}


def test_drawn_pairs_know_it_too_and_their_texts_name_it() -> None:
    source = TradeOffSource([RECORD], tiny.OBJECTIVES, responses_per_step=8)
    held = {text for group in source.batch(0) for text in group.texts()}
    assert held == set(source.texts()) == {(PROMPT, "very short", True), (PROMPT, "very long and", False)}
    assert _ends(Collator(tiny.policy(PluralSteering()))(source.batch(0)[:1])).count(False) == 1


def test_the_same_texts_finished_are_other_data() -> None:
    ended = Record(PROMPT, tuple(Response(reply.text, reply.scores) for reply in RECORD.responses))
    contents = [TradeOffSource([record], tiny.OBJECTIVES).state()["content"] for record in (RECORD, ended)]
    assert contents[0] != contents[1]
    groups = [Group.of(record, record.responses) for record in (RECORD, ended)]
    assert GroupSource(groups[:1], 1).state() != GroupSource(groups[1:], 1).state()


def test_groups_check_what_is_unfinished() -> None:
    assert cut_off(RECORD.responses) == (1,)
    for wrong in ((2,), (-1,)):
        with pytest.raises(DataError, match="unfinished"):
            Group(PROMPT, ("a", "b"), preferences=(Preference(0, 0, 1),), unfinished=wrong)
