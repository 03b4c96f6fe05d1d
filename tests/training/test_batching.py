"""Groups to one padded batch: rows, columns, judgements and references stand where they should."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tabular_policy import TextSteering, objectives, random_groups, random_policy

from pluralign.data.condition import Weights
from pluralign.data.group import Group, Preference
from pluralign.data.record import user
from pluralign.losses.dpo import CDPO
from pluralign.training.batching import Collator, collate, share
from pluralign.training.rows import Rows

O0, O1, O2 = (Weights({objective.name: 1.0}) for objective in objectives(3))
MIXED = Weights({"o0": 0.5, "o2": 0.5})


BOTH = (Preference(0, 0, 1, 1.5), Preference(1, 1, 0))


def group(prompt: str = "p0", conditions=(O0, MIXED), preferences=BOTH) -> Group:
    return Group(user(prompt), ("y0", "y1", "y2"), conditions, preferences)


def test_rows_columns_and_judgements():
    batch = collate(random_policy(), [group(), group("p2", (O1,), (Preference(0, 2, 0, 0.25),))])
    assert batch.input_ids.tolist() == [[0, 6], [0, 7], [2, 6], [2, 8]]  # y2 of the first group is never judged
    assert batch.targets_mask.tolist() == [[False, True]] * 4
    assert batch.attention_mask.all()
    assert batch.lengths.tolist() == [1, 1, 1, 1]
    judgements = batch.judgements
    assert judgements.chosen.tolist() == [0, 1, 3]
    assert judgements.rejected.tolist() == [1, 0, 2]
    assert judgements.condition.tolist() == [0, 1, 0]
    assert judgements.margin[[0, 2]].tolist() == [1.5, 0.25]
    assert judgements.margin[1].isnan()
    assert batch.coefficients.shape == (4, 2, 3)
    assert batch.coefficients[0].tolist() == [[1, 0, 0], [0.5, 0, 0.5]]
    assert batch.coefficients[2].tolist() == [[0, 1, 0], [0, 1, 0]]  # the shorter row repeats its first condition
    assert batch.reference.isnan().all()


def test_a_condition_written_as_text_makes_a_row_of_its_own():
    policy = random_policy(steering=TextSteering())
    unconditioned = group(conditions=(O0, MIXED, None), preferences=(Preference(0, 0, 1), Preference(2, 1, 2)))
    batch = Collator(policy, reference=lambda number: float(number))([unconditioned])
    assert batch.coefficients.shape[1] == 1
    assert batch.judgements.chosen.tolist() == [0, 2]
    assert batch.judgements.rejected.tolist() == [1, 3]
    assert batch.judgements.condition.tolist() == [0, 0]
    assert len(set(batch.rows.tolist())) == 4
    # the reference is that of the plain prompt, whatever was written into it
    rows = Rows(policy.encoder)
    collator = Collator(policy, rows, lambda number: float(number))
    written = collator([group(preferences=(Preference(0, 0, 1), Preference(1, 0, 1)))])
    plain = [rows.number(user("p0"), text) for text in ("y0", "y1")]
    assert written.reference.tolist() == [plain[0], plain[1]] * 2
    assert not set(written.rows.tolist()) & set(plain)


def test_groups_without_preferences_are_imitated():
    batch = collate(random_policy(), [Group(user("p1"), ("y3", "y4"), (O0, O1))])
    assert batch.judgements.chosen.tolist() == [0, 0, 1, 1]
    assert batch.judgements.condition.tolist() == [0, 1, 0, 1]
    assert (batch.judgements.rejected == -1).all()


def test_responses_that_do_not_fit_are_left_out_and_counted():
    both = (Preference(0, 0, 1), Preference(0, 1, 2))
    batch = collate(random_policy(), [Group(user("p1"), ("long", "y1", "y2"), (None,), both)])
    assert batch.rejected == 1
    assert batch.judgements.chosen.tolist() == [0]
    assert batch.input_ids.tolist() == [[1, 7], [1, 8]]
    empty = collate(random_policy(), [Group(user("p1"), ("long", "y1"), (None,), (Preference(0, 0, 1),))])
    assert empty.num_examples == 0


def test_padding_is_on_the_right():
    longer = Group(user("p1 p2 p3"), ("y1", "y2"), (None,), (Preference(0, 0, 1),))
    batch = collate(random_policy(), [longer, Group(user("p1"), ("y0", "y1"), (None,), (Preference(0, 0, 1),))])
    assert batch.input_ids.tolist()[2] == [1, 6, 0, 0]
    assert batch.attention_mask.tolist()[2] == [True, True, False, False]
    assert batch.targets_mask.tolist()[:1] == [[False, False, False, True]]
    assert batch.lengths.tolist() == [1, 1, 1, 1]


def test_groups_of_one_prompt_share_their_rows_and_stand_together():
    pairs = [
        group(conditions=(O0,), preferences=(Preference(0, 0, 1, 1.0),)),
        group("p2", conditions=(O0,), preferences=(Preference(0, 0, 1, 2.0),)),
        group(conditions=(Weights({"o0": 1.0}),), preferences=(Preference(0, 2, 1, 3.0),)),  # an equal condition
        group(conditions=(O1,), preferences=(Preference(0, 0, 1, 4.0),)),  # another one
    ]
    batch = collate(random_policy(), pairs)
    assert batch.input_ids.tolist() == [[0, 6], [0, 7], [0, 8], [0, 6], [0, 7], [2, 6], [2, 7]]
    assert batch.groups.tolist() == [0, 0, 0, 0, 0, 1, 1]
    judgements = batch.judgements  # in the order of the groups
    assert judgements.margin.tolist() == [1, 2, 3, 4]
    assert judgements.chosen.tolist() == [0, 5, 2, 3]
    assert judgements.rejected.tolist() == [1, 6, 1, 4]
    assert batch.coefficients[:, 0].tolist() == [[1, 0, 0]] * 3 + [[0, 1, 0]] * 2 + [[1, 0, 0]] * 2


def test_processes_get_whole_prompts_while_there_are_enough():
    groups = [group(prompt, preferences=(Preference(0, 0, 1, margin),)) for margin, prompt in enumerate("ababc", 1)]

    def margins(num: int) -> list[list[float]]:
        return [[g.preferences[0].margin for g in share(groups, index, num)] for index in range(num)]

    assert margins(1) == [[1, 3, 2, 4, 5]]
    assert margins(2) == [[1, 3, 5], [2, 4]]
    assert margins(3) == [[1, 3], [2, 4], [5]]
    assert margins(4) == [[1, 5], [3], [2], [4]]


def test_a_prompt_with_its_condition_written_in_is_not_the_same_prompt_without():
    """Their ids are equal, but their rows have other references."""
    policy = random_policy(steering=TextSteering())
    written = policy.steering.write(user("p0"), O0)
    plain = Group(written, ("y0", "y1"), (None,), (Preference(0, 0, 1),))
    batch = Collator(policy, reference=lambda number: float(number))(
        [group(conditions=(O0,), preferences=(Preference(0, 0, 1),)), plain]
    )
    assert batch.rows[:2].tolist() == batch.rows[2:].tolist()
    assert batch.groups.tolist() == [0, 0, 1, 1]
    assert batch.reference[:2].tolist() != batch.reference[2:].tolist()


def test_every_text_is_tokenised_once():
    policy = random_policy()
    collator = Collator(policy)
    for _ in range(3):
        collator(random_groups())
    assert policy.encoder.calls == len(collator.rows) <= 24


pairs = st.lists(st.integers(0, 4), min_size=2, max_size=2, unique=True)
margins = st.floats(0, 3, width=32)
weights = st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any)


@st.composite
def random_group(draw) -> Group:
    asked = tuple(
        Weights({f"o{k}": value / sum(row) for k, value in enumerate(row)})
        for row in draw(st.lists(weights, min_size=1, max_size=4))
    )
    preferences = tuple(
        Preference(draw(st.integers(0, len(asked) - 1)), *draw(pairs), draw(margins))
        for _ in range(draw(st.integers(1, 5)))
    )
    return Group(user(f"p{draw(st.integers(0, 5))}"), tuple(f"y{y}" for y in range(5)), asked, preferences)


@settings(max_examples=40)
@given(st.lists(random_group(), min_size=1, max_size=5))
def test_a_batch_equals_its_groups_run_alone(groups):
    policy = random_policy()
    policy.model.heads.data = torch.randn(policy.model.heads.shape, generator=torch.Generator().manual_seed(0))

    def losses(part: list[Group]) -> list[float]:
        batch = Collator(policy, reference=lambda number: 0.0)(part)
        return CDPO()(policy.outputs(batch), batch.judgements)[0].tolist()

    alone = [value for single in groups for value in losses([single])]
    assert losses(groups) == pytest.approx(alone, abs=1e-6)


@given(random_group())
def test_a_batch_judges_what_the_group_says(single):
    policy = random_policy()
    policy.model.heads.data = torch.randn(policy.model.heads.shape, generator=torch.Generator().manual_seed(0))
    batch = Collator(policy, reference=lambda number: 0.0)([single])
    delta = CDPO()(policy.outputs(batch), batch.judgements)[1]["delta"].tolist()
    prompt = int(single.messages[0].content[1:])
    for preference, found in zip(single.preferences, delta, strict=True):
        p = policy.probabilities(prompt, single.conditions[preference.condition])
        assert found == pytest.approx(math.log(p[preference.chosen] / p[preference.rejected]), abs=1e-4)
    assert batch.judgements.margin.tolist() == [preference.margin for preference in single.preferences]
