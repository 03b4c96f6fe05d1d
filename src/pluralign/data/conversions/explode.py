"""Explode: one group per preference, for methods that shuffle single pairs (CMPO's records, DPO)."""

from __future__ import annotations

from dataclasses import replace

from pluralign.data.group import Group


def explode(group: Group) -> list[Group]:
    """One group per preference with its two responses (the chosen one first) and its one condition."""
    return [
        Group(
            group.messages,
            (group.responses[preference.chosen], group.responses[preference.rejected]),
            (group.conditions[preference.condition],),
            (replace(preference, condition=0, chosen=0, rejected=1),),
            group.id,
            tuple(
                place for place, old in enumerate((preference.chosen, preference.rejected)) if old in group.unfinished
            ),
        )
        for preference in group.preferences
    ]
