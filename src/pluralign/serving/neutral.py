"""Parameters of the OpenAI API that this server does not have: allowed where they change nothing, else refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Absent(NamedTuple):
    """`is_neutral(value)`: asking for it is asking for nothing; `why` it is refused otherwise."""

    is_neutral: Callable[[Any], bool]
    why: str


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda given: any(type(given) is type(value) and given == value for value in (None, *values))


def _zero(given: Any) -> bool:
    return given is None or (type(given) in (int, float) and given == 0)


_TOOLS = "the models call no tools"
_TEXT = "the models read and write text"
_STORE = "nothing is stored"
_BIAS = "the probabilities are the steered model's; ask for something else with 'steering'"

BOTH: dict[str, Absent] = {
    "frequency_penalty": Absent(_zero, f"only 0: {_BIAS}"),
    "presence_penalty": Absent(_zero, f"only 0: {_BIAS}"),
    "logit_bias": Absent(_one_of({}), f"only {{}}: {_BIAS}"),
    "user": Absent(lambda given: given is None or isinstance(given, str), "it must be a text"),
}
CHAT: dict[str, Absent] = BOTH | {
    "audio": Absent(_one_of(), _TEXT),
    "function_call": Absent(_one_of("none", "auto"), _TOOLS),
    "functions": Absent(_one_of([]), _TOOLS),
    "metadata": Absent(_one_of({}), _STORE),
    "modalities": Absent(_one_of(["text"]), f"only ['text']: {_TEXT}"),
    "moderation": Absent(_one_of(), "nothing moderates; steer towards a safety objective instead"),
    "parallel_tool_calls": Absent(_one_of(True, False), _TOOLS),
    "prediction": Absent(_one_of(), "replies are drawn token by token"),
    "prompt_cache_key": Absent(lambda given: given is None or isinstance(given, str), "it must be a text"),
    "prompt_cache_options": Absent(_one_of({}), "prompts are cached by themselves, and in memory only"),
    "prompt_cache_retention": Absent(_one_of("in_memory"), "prompts are cached by themselves, and in memory only"),
    "reasoning_effort": Absent(_one_of("none"), "only 'none': the models do not reason apart from their reply"),
    "response_format": Absent(_one_of({"type": "text"}), "only {'type': 'text'}: replies follow no schema"),
    "safety_identifier": Absent(lambda given: given is None or isinstance(given, str), "it must be a text"),
    "service_tier": Absent(_one_of("auto", "default"), "only 'auto' or 'default': there is one tier"),
    "store": Absent(_one_of(False), f"only false: {_STORE}"),
    "tool_choice": Absent(_one_of("none", "auto"), _TOOLS),
    "tools": Absent(_one_of([]), _TOOLS),
    "verbosity": Absent(_one_of("medium"), "only 'medium'; ask for a length with 'steering', where it is an objective"),
    "web_search_options": Absent(_one_of(), _TOOLS),
}
COMPLETION: dict[str, Absent] = BOTH | {
    "best_of": Absent(_one_of(1), "only 1; draw several with 'n' and choose among them"),
    "suffix": Absent(_one_of(""), "the models write on, not in between"),
}
MESSAGE: dict[str, Absent] = {
    "annotations": Absent(_one_of([]), _TEXT),
    "audio": Absent(_one_of(), _TEXT),
    "function_call": Absent(_one_of(), _TOOLS),
    "name": Absent(_one_of(), "the models tell speakers apart by their roles only"),
    "refusal": Absent(_one_of(), "write it as content"),
    "tool_calls": Absent(_one_of([]), _TOOLS),
}
STREAM: dict[str, Absent] = {"include_obfuscation": Absent(_one_of(False), "only false: chunks are not padded")}


class Unsupported(ValueError):
    """A parameter that is not neutral; `param` is its name."""

    def __init__(self, param: str, why: str) -> None:
        super().__init__(f"{param} is not supported: {why}")
        self.param = param


def without_neutral(given: Any, absent: Mapping[str, Absent]) -> Any:
    """The body without the parameters that change nothing; raises Unsupported for one that would. Not an object: as it is."""
    if not isinstance(given, dict):
        return given
    for name in absent.keys() & given.keys():
        if not absent[name].is_neutral(given[name]):
            raise Unsupported(name, absent[name].why)
    return {name: value for name, value in given.items() if name not in absent}
