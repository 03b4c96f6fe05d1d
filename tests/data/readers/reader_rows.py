"""One made-up row of every format, in the shape of the real files; the real ones are read in tests/real_data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pluralign.data.dataset import Dataset
from pluralign.data.readers import registry
from pluralign.data.record import Record

Row = dict[str, Any]
MARKS = {"coherence": 2, "consistency": 1, "fluency": 3, "relevance": 4}
SUMMEVAL: Row = {
    "article_id": "cnn-1", "system": "M8", "prompt": "A long article.", "response": "A summary.",
    "ratings": {"coherence": 3.0, "consistency": 1.3333, "fluency": 3.0, "relevance": 4.0},
    "expert_ratings": [MARKS, MARKS | {"consistency": 2}, MARKS | {"coherence": 5}],
    "crowd_ratings": [MARKS, MARKS], "references": ["A reference."],
}  # fmt: skip
SUMMEVAL_RELEASE: Row = {
    "id": "cnn-1", "model_id": "M8", "text": "A long article.", "decoded": "A summary.",
    "expert_annotations": SUMMEVAL["expert_ratings"], "turker_annotations": [MARKS], "references": ["A reference."],
    "filepath": "cnn/1",
}  # fmt: skip
USR: Row = {
    "prompt": "hi there \n hello ! \n do you like jazz ?\n", "fact": "jazz began in new orleans",
    "system": "Argmax Decoding", "response": "yes , do you ?",
    "ratings": {"understandability": 1.0, "naturalness": 2.6667, "coherence": 3.0, "engagingness": 2.0,
                "groundedness": 0.0, "overall": 4.3333},
}  # fmt: skip
DOMAINS: Row = {
    "prompt": "Write a line.",
    "responses": {"academy": "a", "business": "b", "entertainment": "e", "literature": "l", "normal": "a"},
}
RANKED: Row = {
    "history": [{"role": "prompter", "text": "q"}, {"role": "assistant", "text": "a"}, {"role": "prompter", "text": "p"}],
    "replies": [{"text": "x", "rank": 1}, {"text": "y", "rank": 0}, {"text": "z", "rank": 1}, {"text": "w", "rank": None}],
}  # fmt: skip
RULES = ["death", "pain", "disable", "freedom", "pleasure", "deceive", "cheat", "break_promise", "break_law", "duty"]
MORAL: Row = {
    "id": "C_001", "ambiguity": "low", "rule": "Do not kill", "context": "You are a nurse.",
    "action1": "I help.", "action2": "I leave.", "violations1": dict.fromkeys(RULES, "No"),
    "violations2": dict.fromkeys(RULES, "No") | {"duty": "Yes", "pain": "No Agreement"},
}  # fmt: skip
MORAL_RELEASE: Row = {
    "scenario_id": "H_002", "ambiguity": "high", "generation_type": "Hand-Written", "context": "You are a nurse.",
    "action1": "I help.", "action2": "I leave.", **{f"a1_{rule}": "No" for rule in RULES},
    **{f"a2_{rule}": "Yes" for rule in RULES},
}  # fmt: skip
POLICY: Row = {"id": "S1", "question": "Should it?", "affirming": "It should.", "negating": "It should NOT.", "topic": 3,
               "split": "train"}  # fmt: skip
OPINIONS: Row = {
    "question": "Do you?",
    "options": ["Yes", "No"],
    "group": "Chile",
    "distribution": [0.7, 0.3],
    "id": 12,
}
OPINIONS_HUB: Row = {
    "question": "Do you?", "options": "['Yes', 'No']", "source": "GAS",
    "selections": "defaultdict(<class 'list'>, {'Chile': [0.7, 0.3], 'Peru': [0.5, 0.5]})",
}  # fmt: skip
PERSONA: Row = {"persona": "risk-averse", "statement": "I look twice.", "matches": True, "confidence": 0.97}
ITEM: Row = {"inventory": "mpi_120", "facet": "Trust", "text": "Trust others", "trait": "A", "key": 1}
TOXICITY: Row = {"prompt": "And then he", "scores": {"toxicity": 0.1, "insult": None}, "challenging": False}
TOXICITY_HUB: Row = {
    "filename": "f.txt", "begin": 0, "end": 9, "challenging": True,
    "prompt": {"text": "And then he", "toxicity": 0.1, "insult": None},
    "continuation": {"text": " left.", "toxicity": 0.2, "insult": None},
}  # fmt: skip
PROMPTS: Row = {"prompt": "Tell me a joke.", "category": "fun", "length": 4}
COMMENTS: Row = {
    "conversation": "town.2", "topic": "The town", "comment_id": "7", "text": "More trees.", "agrees": 5, "disagrees": 1,
    "by_group": {"0": {"agree": 4, "disagree": 0, "pass": 2}, "none": {"agree": 1, "disagree": 1, "pass": 0}},
}  # fmt: skip
VOTES: Row = {"conversation": "town.2", "participant": 3, "group": "0", "votes": {"7": 1, "8": -1, "9": 0}}
EXPORT: Row = {"participant": 3, "group-id": 0, "n-votes": 2, "7": 1, "8": -1, "9": None}
OFFENCE: Row = {"item_id": 9, "user_id": "2", "text": "you fool", "offensiveness": 4.0, "gender": "Woman", "age": ">65"}
CRITIQUE_RELEASE: Row = {
    "id": 4,
    "metadata": {"context": "p", "output_correct": "ref", "output_candidate": "r"},
    "latestLabel": {"jsonResponse": {
        "CLASSIFICATION_JOB": {"jobName": "Justified?", "categories": [{"categoryName": "2 Not justified enough"}]},
        "CLASSIFICATION_JOB_1": {"categories": [{"categoryName": "4 Mostly relevant"}]},
        "CLASSIFICATION_JOB_0": {"categories": [
            {"categoryName": "Arithmetic", "children": {"TRANSCRIPTION_JOB_12": {"text": "It is 5. "}}}]},
        "CLASSIFICATION_JOB_2": {"categories": []},
    }},
}  # fmt: skip
SAMPLES: list[tuple[str, Row]] = [
    ("summeval", SUMMEVAL), ("summeval", SUMMEVAL_RELEASE), ("dialogue_ratings", USR), ("domain_preference", DOMAINS),
    ("ranked_replies", RANKED), ("moral_choices", MORAL), ("moral_choices", MORAL_RELEASE), ("policy_questions", POLICY),
    ("global_opinions", OPINIONS), ("global_opinions", OPINIONS_HUB), ("persona_statements", PERSONA),
    ("personality_items", ITEM), ("toxicity_prompts", TOXICITY), ("toxicity_prompts", TOXICITY_HUB),
    ("prompts", PROMPTS), ("polis_comments", COMMENTS), ("polis_votes", VOTES), ("polis_export", EXPORT), ("rater_table", OFFENCE),
    ("critiques", CRITIQUE_RELEASE),
]  # fmt: skip


def write(folder: Path, *rows: Row | str) -> Path:
    """The rows as JSON lines; the words that the Polis votes need stand beside them."""
    comments = [COMMENTS | {"comment_id": name, "text": f"comment {name}"} for name in ("7", "8", "9")]
    (folder / "comments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in comments), encoding="utf-8")
    (folder / "comments.csv").write_text("comment-id,comment-body\n7,a\n8,b\n9,c\n", encoding="utf-8")
    path = folder / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def read(folder: Path, *rows: Row) -> tuple[Dataset, Sequence[Record]]:
    """The rows as the registry reads them, the reader found by itself."""
    dataset = registry.read(write(folder, *rows))
    return dataset, list(dataset)
