"""Judgements: records as groups under fixed conditions, by the name of a conversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.conversions.power_set import power_set
from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record

Conversion = Literal["trade_off", "power_set", "ratio", "opposite", "complement", "one_hot"]


def judgements(records: Sequence[Record], objectives: Sequence[Objective], conversion: Conversion) -> list[Group]:
    """One group per pair and condition; for trade_off, which draws its weights elsewhere, one per record, judged under
    each objective alone and all alike (what a validation set is judged under)."""
    if conversion == "trade_off":
        num = len(objectives)
        weights = np.unique([*np.eye(num), np.full(num, 1 / num)], axis=0)
        judged = (trade_off(record, objectives, weights) for record in records)
        return [group for group in judged if group is not None]
    if conversion == "one_hot":
        whole = (one_hot(record, objectives) for record in records)
    else:
        form = "share" if conversion == "power_set" else conversion
        whole = (power_set(record, objectives, form=form) for record in records)
    return [group for groups in whole for judged in groups for group in explode(judged)]
