"""Made-up rows in the shape of the hub's datasets, shared by the tests of their readers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def steered(prompt: str, response: str, *ratings: Any) -> Row:
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    return {"prompt": prompt, "response": response, **dict(zip(names, ratings, strict=True))}


HELPSTEER = [steered("c#", "A language.", 3, 4, 4, 2, 1), steered("c#", "A note.", 1, 0, 4, 1, 0)]
PREFERENCE: Row = {
    "split": "train", "prompt": "Why?", "response_1": "So.", "response_2": "Because.", "preference_strength": 2,
    "preference_statement": "@Response 2 is better.", "preference_elaboration": "It says why.",
    "three_most_similar_preferences": [{"statement": "s", "elaboration": "e", "strength": 2}],
}  # fmt: skip
SAFE: Row = {
    "prompt": "How?", "response_0": "No.", "response_1": "So.", "prompt_source": "Alpaca3-8B",
    "response_0_source": "Alpaca3-8B", "response_1_source": "Alpaca-7B",
    "is_response_0_safe": True, "is_response_1_safe": False,
    "response_0_harm_category": {"Violence": False}, "response_1_harm_category": {"Violence": True},
    "response_0_severity_level": 0, "response_1_severity_level": 2,
    "better_response_id": 1, "safer_response_id": 0,
}  # fmt: skip
BEAVER: Row = {
    "prompt": "How?", "response": "So.", "is_safe": False,
    "category": {"animal_abuse": False, "financial_crime,property_crime,theft": True, "self_harm": False},
}  # fmt: skip


def rated(mark: str, reason: str = "r", **more: Any) -> Row:
    return {"Rating": mark, "Rationale": reason, **more}


ULTRA: Row = {
    "source": "evol_instruct", "instruction": "Add 2 and 2.", "models": ["m1", "m2"], "correct_answers": ["None"],
    "completions": [
        {"model": "m1", "response": "4", "principle": "honesty", "custom_system_prompt": "Be honest.",
         "annotations": {"helpfulness": rated("5", "the type", Type=["1"], **{"Rationale For Rating": "useful"}),
                         "honesty": rated("4", "sure"), "instruction_following": rated("5", "does it"),
                         "truthfulness": rated("N/A", "", Type=["None"])},
         "critique": "Well done.", "overall_score": 9.0, "fine-grained_score": 4.75},
        {"model": "m2", "response": "5", "annotations": {"honesty": rated("1", "wrong")}, "overall_score": 1.0},
    ],
}  # fmt: skip
HH: Row = {
    "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: yes",
    "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: no",
}
BENCH: Row = {
    "prompt": "2+2?", "chosen": "4", "chosen_model": "human", "rejected": "5", "rejected_model": "unknown",
    "subset": "math-prm", "id": 17,
}  # fmt: skip


def said(name: str, parent: str | None, role: str, rank: int | None = None, **more: Any) -> Row:
    """An OASST message of the tree t1; its text is its name."""
    known = {"message_id": name, "parent_id": parent, "text": f"text {name}", "role": role, "lang": "en", "rank": rank}
    return {**known, "deleted": False, "message_tree_id": "t1", "tree_state": "ready_for_export", **more}


LABELS = {"name": ["quality", "toxicity", "spam"], "value": [0.75, 0.0, None], "count": [3, 3, 0]}
OASST = [
    said("p", None, "prompter", labels=LABELS),
    said("a", "p", "assistant", 1, labels=LABELS),
    said("b", "p", "assistant", 0, labels={"quality": {"value": 1.0, "count": 2}, "wit": {"value": 0.5, "count": 1}}),
    said("q", "b", "prompter", 0),
    said("c", "q", "assistant", None, synthetic=True, model_name="gpt"),
]


def nested(rows: Iterable[Row]) -> Row:
    """The same messages as one row of a *.trees.jsonl file."""
    nodes = {row["message_id"]: {**row, "replies": []} for row in rows}
    for row in nodes.values():
        state, tree = row.pop("tree_state"), row.pop("message_tree_id")
        if row["parent_id"]:
            nodes[row["parent_id"]]["replies"].append(row)
    return {"message_tree_id": tree, "tree_state": state, "prompt": next(iter(nodes.values()))}


def turn(number: int, asked: str, *replies: tuple[str, int | None, bool]) -> list[Row]:
    mine = {"turn": number, "role": "user", "content": asked, "score": None, "if_chosen": None}
    models = [
        {"turn": number, "role": "model", "content": words, "model_name": f"m{place}", "model_provider": "x",
         "score": score, "if_chosen": chosen, "within_turn_id": place}
        for place, (words, score, chosen) in enumerate(replies)
    ]  # fmt: skip
    return [mine, *models]


PRISM: Row = {
    "conversation_id": "c7", "user_id": "user0", "conversation_type": "unguided", "conversation_turns": 2,
    "conversation_history": turn(0, "hi", ("yo", 20, False), ("hello", 90, True), ("hm", None, False))
    + turn(1, "more", ("one", 55, True), ("two", 54, False)),
    "performance_attributes": {"values": 70, "fluency": None}, "choice_attributes": {"values": 99, "safety": None},
    "open_feedback": "Too short.",
}  # fmt: skip
SURVEY: Row = {
    "user_id": "user0", "age": "25-34 years old", "religion": {"simplified": "None", "self_described": None},
    "location": {"reside_country": "Chile"}, "stated_prefs": {"values": 80, "safety": 0}, "survey_only": False,
    "self_description": "I like tea.",
}  # fmt: skip

FORMATS: list[tuple[str, list[Row]]] = [
    ("helpsteer2", HELPSTEER),
    ("helpsteer2_preference", [PREFERENCE]),
    ("pku_saferlhf", [SAFE]),
    ("beavertails", [BEAVER]),
    ("ultrafeedback", [ULTRA]),
    ("hh_rlhf", [HH]),
    ("rewardbench", [BENCH]),
    ("oasst", OASST),
    ("oasst", [nested(OASST)]),
    ("prism", [PRISM]),
]


def lay(path: Path, *rows: Row) -> Path:
    """The rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
