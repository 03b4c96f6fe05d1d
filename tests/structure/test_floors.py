"""Who may import whom: floors, plug-in files, and the libraries that are kept to one place."""

from __future__ import annotations

import pytest
from source_tree import inside_package, modules, own_imports

from pluralign.recipes.registry import NOT_METHODS

# Rooms from the lowest to the highest. A room imports only from rungs below its own (inside a room: see the circles).
FLOORS = (
    (("errors",), ("plugins", "settings", "storage"), ("data",)),
    (("annotation", "encoding", "losses"), ("base_model", "steering")),
    (
        ("packing",),
        ("masks",),
        ("sharing",),
        ("trial",),
        ("logprobs", "policy_folder"),
        ("members",),
        ("layer_states", "token_outputs"),
        ("policy",),
        ("reward_folder", "reward_states"),
        ("reward_model",),
    ),
    (("model_card", "training"), ("export", "sampling"), ("scorers",)),
    (("lab", "methods"),),
    (("evaluation",),),
    (
        ("recipes", "data_api"),
        ("comparison",),
        ("serving",),
        ("api", "bench"),
        ("demo", "results"),
        ("commands", "data_commands", "people_commands", "serve_commands"),
        ("bench_commands",),
    ),
    (("cli",), ("__main__",)),
)
RUNG = {room: rung for rung, rooms in enumerate(sum(FLOORS, ())) for room in rooms}
FACADE = "__init__"  # the package's front door: gathers public names, and knows the version

# Folders whose files are plug-ins, with the files that are shared words instead.
PLUGINS = {
    "data.readers": {"registry"},
    "losses": {"outputs"},
    "methods": NOT_METHODS,
    "scorers": {"contract", "asking", "endpoint", "policy_ask", "reading", "forms", "pairs"},
    "steering": {
        *(
            "adapter",
            "averaged",
            "contract",
            "decoding",
            "deltas",
            "head",
            "plausible",
            "offsets",
            "phrases",
            "plausible",
            "surgery",
            "text",
            "weighted",
        ),
        *("formulations", "fused", "passes", "softmax", "terms", "units"),  # the fast head
    },
}

# A library, and the only places that may import it.
HOMES = {
    # the engine's key-value cache; lab and bench build base models
    "transformers": (
        "encoding",
        "base_model",
        "policy",
        "policy_folder",
        "reward_model",
        "steering",
        "sampling.slots",
        "lab",
        "bench",
    ),
    "peft": ("base_model", "steering", "export", "bench"),
    "gguf": ("export",),
    "accelerate": ("training",),
    "torch.distributed": ("training",),
    "tyro": ("cli", "commands", "bench_commands", "data_commands", "people_commands", "serve_commands"),
    "fastapi": ("serving",),
    "prometheus_client": ("serving",),
    "uvicorn": ("serving",),
    "starlette": ("serving",),
    "ray": ("sampling.ray",),
    "trl": ("bench",),
}
WITHOUT_TORCH = ("errors", "plugins", "settings", "storage", "data", "annotation")


def _inside(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def test_every_room_stands_on_a_floor() -> None:
    assert [module.path for module in modules() if module.name != FACADE and module.room not in RUNG] == []


def test_imports_come_from_lower_floors() -> None:
    upwards = [
        f"{module.path}:{found.line}: {module.room} may not import {name}"
        for module in modules()
        if module.name != FACADE
        for name, found in own_imports(module)
        if not found.types_only and (room := name.split(".")[0]) != module.room and RUNG[room] >= RUNG[module.room]
    ]
    assert not upwards


def test_no_circles() -> None:
    """No module reaches itself through imports, lazy ones included (imports for the type checker do not count)."""
    packages = {name for name in inside_package() if any(other.startswith(name + ".") for other in inside_package())}
    graph = {
        module.name: {name for name, found in own_imports(module) if not found.types_only and name not in packages}
        for module in modules()
    }
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "a circle of imports: " + " -> ".join((*trail, name))
        if name not in finished:
            for below in sorted(graph[name]):
                visit(below, (*trail, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def _folder(name: str) -> str | None:
    """The plug-in folder that a module is a plug-in of; None for shared words and everything else."""
    for folder, shared in PLUGINS.items():
        rest = name.removeprefix(folder + ".")
        if rest != name and rest.split(".")[0] not in shared:
            return folder
    return None


def test_a_plugin_never_imports_its_sibling() -> None:
    siblings = [
        f"{module.path}:{found.line}: {name}"
        for module in modules()
        if (folder := _folder(module.name))
        for name, found in own_imports(module)
        if name not in (module.name, folder) and _folder(name) == folder
    ]
    assert not siblings, f"name it and let plugins.py find it, or move what is shared below: {siblings}"


@pytest.mark.parametrize("library", HOMES)
def test_a_library_stays_at_home(library: str) -> None:
    strangers = [
        f"{module.path}:{found.line}"
        for module in modules()
        for found in module.imports()
        if _inside(found.module, library) and not any(_inside(module.name, home) for home in HOMES[library])
    ]
    assert not strangers, f"only {', '.join(HOMES[library])} may import {library}: {strangers}"


def test_the_ground_floor_knows_no_torch() -> None:
    strangers = [
        f"{module.path}:{found.line}"
        for module in modules()
        if module.room in WITHOUT_TORCH
        for found in module.imports()
        if found.module.split(".")[0] in ("torch", "transformers", "jaxtyping")
    ]
    assert not strangers
