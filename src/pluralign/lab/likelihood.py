"""Plain Hugging Face sampling and likelihoods of a lab model: the independent second opinion.

The package's own decoder and policy are faster and can be steered; this file uses only what transformers offers, so
that the base models can be measured when they are built and other code can be checked against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign.data.objective import names
from pluralign.data.record import Message, Record
from pluralign.lab.base import MAX_NEW_TOKENS, collate, encode_prompt, encode_replies
from pluralign.lab.parser import grammatical, repetition, split_sentences
from pluralign.lab.prompt_set import topic_of
from pluralign.lab.scoring import OBJECTIVES, score_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.no_grad()
def reply_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    replies: Sequence[str],
    batch_size: int = 128,
) -> NDArray[np.float64]:
    """log π(reply | messages) of whole replies with their end token, in nats, float64 [N]."""
    prompt = encode_prompt(tokenizer, messages)
    rows = [(prompt, reply) for reply in encode_replies(tokenizer, replies)]
    parts, run = [], cast(Any, model)
    for start in range(0, len(rows), batch_size):
        ids, labels = collate(rows[start : start + batch_size], int(tokenizer.pad_token_id))
        logits = run(input_ids=ids, use_cache=False).logits
        wanted = labels >= 0
        picked = torch.zeros(labels.shape, dtype=torch.float64)
        picked[wanted] = -torch.nn.functional.cross_entropy(logits[wanted], labels[wanted], reduction="none").double()
        parts.append(picked.sum(dim=1))
    return torch.cat(parts).numpy() if parts else np.zeros(0)


@torch.no_grad()
def sample_replies(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record], seed: int = 0
) -> list[tuple[str, bool]]:
    """One reply to each record at temperature 1 with `generate`: (text, whether it ended by itself)."""
    turns = [[asdict(message) for message in record.messages] for record in records]
    asked: Any = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
    )
    torch.manual_seed(seed)
    generated: Any = cast(Any, model).generate(
        **asked, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=MAX_NEW_TOKENS
    )
    written = generated[:, asked["input_ids"].shape[1] :]
    ended = (written == tokenizer.eos_token_id).any(dim=1).tolist()
    return list(zip(tokenizer.batch_decode(written, skip_special_tokens=True), ended, strict=True))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a base model's samples look like; scores are means over all samples, 0 for ungrammatical ones."""

    num_samples: int
    fluency: float
    sentences: float
    repetition: float
    scores: dict[str, float]


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    num_each: int = 40,
    seed: int = 0,
) -> Measurement:
    """Sample `num_each` replies to every record at temperature 1 and measure them with the exact scorer."""
    asked = [record for record in records for _ in range(num_each)]
    drawn = sample_replies(model, tokenizer, asked, seed)
    texts = [text if ended else "" for text, ended in drawn]
    found = [(topic_of(record.messages), text) for record, text in zip(asked, texts, strict=True)]
    legal = [topic is not None and grammatical(topic, text) for topic, text in found]
    points = np.array([score_text(topic, text) for topic, text in found if topic is not None]).mean(axis=0)
    return Measurement(
        num_samples=len(asked),
        fluency=float(np.mean(legal)),
        sentences=float(np.mean([len(split_sentences(text)) for text, _ in drawn])),
        repetition=float(np.mean([repetition(text) for text, _ in drawn])),
        scores=dict(zip(names(OBJECTIVES), points.round(4).tolist(), strict=True)),
    )
