"""What stands in a row of a comparison: a method with every number set, and the feedback that it is given."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pluralign import settings
from pluralign.errors import ConfigError
from pluralign.recipes.registry import facts_of, method_class, method_names, recipe, recipe_names

log = logging.getLogger("pluralign")
LAB_RECIPE = "lab"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row. `key` names its folder, `title` its line in the table; `settings` are the method's, as JSON.

    `raters` and `share`: who judged the lab's pool, and how many of the comparisons there are. `report`: write a whole
    report beside the row. `model`: a base of its own, where it is not the ground's. `extremes`: an objective is asked for
    as the best score on it and the worst on all others. `by_wins`: replies that people compared but did not rate are
    rated by their wins. `error`: why the method could not even be made.
    """

    key: str
    title: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    raters: Literal["noisy", "halo", "comparisons"] = "noisy"
    share: float = 1.0
    report: bool = False
    model: str = ""
    extremes: bool = False
    by_wins: bool = False
    error: str = ""

    @property
    def one_objective(self) -> bool:
        """Whether the method trains for one objective only, so that it needs a model for each."""
        return "of one objective" in self.facts["feedback"]

    @property
    def facts(self) -> dict[str, str]:
        """The method's facts by name."""
        if ":" not in self.method:
            return facts_of(self.method)
        facts = method_class(self.method).facts
        return {name: getattr(facts, name) for name in ("paper", "feedback", "condition", "models", "passes")}

    def built(self) -> Any:
        """The method."""
        return settings.from_json(method_class(self.method), dict(self.settings))


def entries_of(methods: str, lab: bool = True, max_steps: int | None = None) -> list[Entry]:
    """The rows that a text asks for: ids separated by commas, each with a recipe if it says so ("cmpo/thesis,soups").

    "all" is every method that trains a policy. Without a recipe it is `lab` in the lab where the method has one, else `default`. `max_steps`
    shortens every training, for a trial. Raises ConfigError for an unknown name, or one that is given twice.
    """
    wanted = [name.strip() for name in methods.split(",") if name.strip()]
    known = method_names()
    policies = [name for name in known if "scorer" not in facts_of(name)["condition"]]
    names = [each for name in wanted for each in (policies if name == "all" else [name])]
    if not names:
        raise ConfigError(f"name the methods to compare, separated by commas; known are: {', '.join(known)} (or all)")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{', '.join(twice)} is asked for twice; name each row once")
    return [_entry(name, lab, max_steps) for name in names]


def _entry(name: str, lab: bool, max_steps: int | None) -> Entry:
    method, _, chosen = name.partition("/")
    if ":" not in method and method not in method_names():
        raise ConfigError(f"unknown method {method!r}; known are: {', '.join(method_names())} (or module:Class)")
    if not chosen:
        chosen = LAB_RECIPE if lab and LAB_RECIPE in recipe_names(method) else "default"
    elif chosen not in recipe_names(method):
        raise ConfigError(f"{method} has no recipe {chosen!r}; there are: {', '.join(recipe_names(method))}")
    title = method if chosen in ("default", LAB_RECIPE) else f"{method}, {chosen}"
    return made(title, method, lambda: recipe(method, chosen), max_steps=max_steps)


def made(title: str, method: str, make: Any, max_steps: int | None = None, **more: Any) -> Entry:
    """The entry of what `make` returns; one with its error where it raises, so that the other rows go on."""
    key = "-".join(re.findall(r"\w+", title))
    try:
        plain = settings.to_json(make())
    except Exception as error:  # whatever is wrong with one method is a row of the table, not its end
        log.warning("%s cannot be made: %s", title, error)
        return Entry(key=key, title=title, method=method, error=f"{type(error).__name__}: {error}", **more)
    return Entry(key=key, title=title, method=method, settings=shortened(plain, max_steps), **more)


def shortened(plain: Any, max_steps: int | None) -> Any:
    """Settings (JSON) whose optimisations take at most so many steps; passes over the data become steps."""
    if max_steps is None:
        return plain
    if isinstance(plain, Sequence) and not isinstance(plain, str):
        return [shortened(item, max_steps) for item in plain]
    if not isinstance(plain, Mapping):
        return plain
    found = {name: shortened(value, max_steps) for name, value in plain.items()}
    if found.get("is") == "Optim":
        found |= {"steps": min(found["steps"], max_steps)}
    return found | {"epochs": None} if "epochs" in found and "optim" in found else found
