"""The command line: the only file that reads argv. Each verb is the public call of the same name.

Heavy libraries are imported inside the call that needs them, so that help answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pluralign.errors import ConfigError, PluralignError

DATA_ACTIONS = dict.fromkeys(("readers", "validate", "inspect", "convert", "views", "sample"), "data_commands")
DATA_ACTIONS |= dict.fromkeys(("split", "annotate", "forget"), "people_commands")
VERBS = {
    "demo": "the main job in three minutes, on the shipped lab",
    "train": "train a method: pluralign train METHOD --data FILE --model MODEL --out RUN",
    "sample": "ask a policy: pluralign sample RUN --prompt TEXT --steer WEIGHTS",
    "evaluate": "write a report: pluralign evaluate RUN --out FOLDER [--data FILE]",
    "score": "score records with a scorer: pluralign score FILE --scorer lab --out FILE",
    "serve": "answer over HTTP, as OpenAI's API does: pluralign serve RUN [RUN ...]",
    "export": "write plain models, LoRA adapters or GGUF: pluralign export RUN --steer WEIGHTS --out FOLDER",
    "data": f"look after data: pluralign data {'|'.join(DATA_ACTIONS)}",
    "methods": "list the methods: paper, feedback, condition, models trained, passes per token",
    "compare": "put methods side by side: pluralign compare --methods cmpo,soups --budget CPU_SECONDS",
    "results": "repeat the lab's results table (docs/results.md)",
    "bench": "measure speed: pluralign bench train|data|serve [--json FILE]",
}
EPILOGUE = (
    "Everywhere: --quiet (warnings only), --json (machine-readable result), --debug (traceback). With sample, serve and export: "
    "--allow-extrapolation (lift the bounds of weights on purpose). `pluralign VERB --help` shows a verb's options."
)


@dataclasses.dataclass
class Common:
    """Flags that every verb knows."""

    quiet: bool = False
    json: bool = False
    debug: bool = False
    allow_extrapolation: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for an error of the user's, 130 after Ctrl-C."""
    arguments, common = _common(list(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("pluralign").setLevel(logging.WARNING if common.quiet else logging.INFO)
    try:
        code = _run(arguments, common)
        sys.stdout.flush()
        return code
    except PluralignError as error:
        if common.debug:
            traceback.print_exc()
        print(f"pluralign: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pluralign: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if common.debug:
            traceback.print_exc()
        where = f" ({error.filename})" if error.filename else ""
        reason = error.strerror or error
        print(f"pluralign: the system refused{where}: {reason}. Free space or check the path", file=sys.stderr)
        _drop_output()
        return 2


def _drop_output() -> None:
    """Nobody can read standard output any more: what is left in its buffer goes nowhere, without another error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _common(arguments: list[str]) -> tuple[list[str], Common]:
    common = Common()
    for field in dataclasses.fields(Common):
        flag = "--" + field.name.replace("_", "-")
        if flag in arguments and not _names_a_file(flag, arguments):
            setattr(common, field.name, True)
            arguments = [argument for argument in arguments if argument != flag]
    return arguments, common


def _names_a_file(flag: str, arguments: list[str]) -> bool:
    """`bench train --json FILE` writes a file; everywhere else, and without a name behind it, --json prints."""
    after = [*arguments[arguments.index(flag) + 1 :], "-"][0]
    return arguments[0] == "bench" and flag == "--json" and not after.startswith("-")


def _run(arguments: list[str], common: Common) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_help())
        return 0
    if arguments[0] in ("--version", "-V"):
        from pluralign import __version__

        print(__version__)
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        raise ConfigError(f"unknown verb {verb!r}; known are: {', '.join(VERBS)}. See pluralign --help")
    if common.allow_extrapolation and verb not in ("sample", "serve", "export"):
        raise ConfigError("--allow-extrapolation acts where a policy is asked for weights: in sample, serve and export")
    return _COMMANDS[verb](rest, common)


def _help() -> str:
    lines = [f"  {verb:<10} {text}" for verb, text in VERBS.items()]
    return "\n".join(["usage: pluralign VERB ...", "", *lines, "", EPILOGUE])


def _parse(function: Callable[..., Any], arguments: list[str], prog: str) -> Any:
    import tyro

    return tyro.cli(function, args=arguments, prog=f"pluralign {prog}")


def _print(value: Any, common: Common, text: Callable[[], Any]) -> None:
    """JSON with --json, else what `text` prints."""
    if common.json:
        print(json.dumps(value, ensure_ascii=False), flush=True)  # somebody may wait for this line
    else:
        text()


def _demo(arguments: list[str], common: Common) -> int:
    from pluralign.demo import demo, show

    result = _parse(demo, arguments, "demo")
    _print(result.report.to_json(), common, lambda: show(result))
    return 0


def _train(arguments: list[str], common: Common) -> int:
    from pluralign import api

    if arguments[:1] in ([], ["--help"], ["-h"]):
        print("usage: pluralign train METHOD [--recipe NAME] --data FILE --model MODEL --out RUN")
        print("       pluralign train --from RUN --out NEW_RUN\n")
        for name in api.method_names():
            print(f"  {name:<10} {api.about_method(name)}")
        print("\n`pluralign train METHOD --help` shows a method's options and recipes.")
        return 0
    earlier, rest = _option(arguments, "--from", "")
    if earlier:
        return _train_again(earlier, rest, ["train", *arguments], common)
    name, rest = arguments[0], arguments[1:]
    chosen, rest = _option(rest, "--recipe", "default")
    method, options = _parse_train(name, api.recipe(name, chosen), None, rest)
    return _finish_training(method, options, ["train", *arguments], common)


def _train_again(run: str, rest: list[str], command: list[str], common: Common) -> int:
    """`train [METHOD] --from RUN --out NEW_RUN`: the settings of RUN, changed by whatever flags follow."""
    from pluralign import api

    method, known = api.settings_of_run(run)
    name = api.method_id(method)
    if rest and not rest[0].startswith("-"):
        if rest[0] != name:
            raise ConfigError(f"{run} was trained with {name}, not with {rest[0]}; leave the method out")
        rest = rest[1:]
    method, options = _parse_train(name, method, known, rest)
    return _finish_training(method, options, command, common)


def _option(arguments: list[str], flag: str, default: str) -> tuple[str, list[str]]:
    """Take `flag VALUE` (or flag=VALUE) out of the arguments."""
    for place, argument in enumerate(arguments):
        if argument.startswith(flag + "="):
            return argument[len(flag) + 1 :], arguments[:place] + arguments[place + 1 :]
        if argument == flag:
            if place + 1 == len(arguments):
                raise ConfigError(f"{flag} takes a value")
            return arguments[place + 1], arguments[:place] + arguments[place + 2 :]
    return default, arguments


def _parse_train(name: str, method: Any, known: dict[str, Any] | None, rest: list[str]) -> tuple[Any, Any]:
    import tyro

    from pluralign import api

    flat = tyro.conf.arg(name="")
    options: Any = dataclasses.MISSING
    if known is not None:
        paths = {key: Path(value) for key, value in known.items() if key in ("data", "validation", "adapter") and value}
        lists = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
        where = _option(rest, "--out", "")[0]
        if not where and not {"--help", "-h"}.intersection(rest):
            raise ConfigError("say where the repeated run goes: --out NEW_RUN")
        try:
            options = api.TrainOptions(**{**known, **paths, **lists, "out": Path(where or ".")})
        except TypeError as error:
            raise ConfigError(f"the run was trained with options of another version: {error}") from error

    def command(
        options: Annotated[api.TrainOptions, flat],
        method: Annotated[type(method), flat] = method,  # type: ignore[valid-type]
    ) -> tuple[Any, Any]:
        return method, options

    command.__doc__ = f"{sys.modules[type(method).__module__].__doc__}\nRecipes: {', '.join(api.recipe_names(name))}."
    if options is not dataclasses.MISSING:
        command.__defaults__ = (options, method)
    # the annotations are values, not text: this function is made anew for every method
    command.__annotations__ = {
        "options": Annotated[api.TrainOptions, flat],
        "method": Annotated[type(method), flat],
    }
    found: tuple[Any, Any] = tyro.cli(command, args=rest, prog=f"pluralign train {name}")
    return found


def _finish_training(method: Any, options: Any, command: list[str], common: Common) -> int:
    from pluralign import api

    trained = api.train(method, options, command="pluralign " + " ".join(command))
    where = options.out / trained.folder_name
    _print({trained.folder_name: str(where)}, common, lambda: print(f"trained: {where}"))
    return 0


def _serve(arguments: list[str], common: Common) -> int:
    from pluralign.serve_commands import Serve

    chosen = _parse(Serve, arguments, "serve")
    chosen.run_(common.allow_extrapolation, lambda value, text: _print(value, common, lambda: print(text, flush=True)))
    return 0


def _call(name: str) -> Callable[[list[str], Common], int]:
    """A verb whose options are the fields of a class in `commands`, and which runs itself."""

    def command(arguments: list[str], common: Common) -> int:
        from pluralign import commands

        chosen = _parse(getattr(commands, name), arguments, name.lower())
        value, text = chosen.run_(allow_extrapolation=common.allow_extrapolation)
        _print(value, common, lambda: print(text))
        return 0

    return command


def _actions(verb: str, prefix: str, **files: str) -> Callable[[list[str], Common], int]:
    """A verb whose first word, the action, says which class of options runs: PrefixAction in the action's file."""

    def options(action: str) -> Any:
        return getattr(importlib.import_module(f"pluralign.{files[action]}"), prefix + action.title())

    def command(arguments: list[str], common: Common) -> int:
        if arguments[:1] in ([], ["--help"], ["-h"]):
            print(f"usage: pluralign {verb} ACTION ...   (`pluralign {verb} ACTION --help` shows its options)\n")
            for action in files:
                print(f"  {action:<10} {(options(action).__doc__ or '').splitlines()[0]}")
            return 0
        if arguments[0] not in files:
            raise ConfigError(f"unknown action {arguments[0]!r}; known are: {', '.join(files)}")
        chosen = _parse(options(arguments[0]), arguments[1:], f"{verb} {arguments[0]}")
        value, text = chosen.run_(allow_extrapolation=common.allow_extrapolation)
        _print(value, common, lambda: print(text))
        return 0

    return command


_COMMANDS: dict[str, Callable[[list[str], Common], int]] = {
    "demo": _demo,
    "train": _train,
    "methods": _call("Methods"),
    "data": _actions("data", "", **DATA_ACTIONS),
    "sample": _call("Sample"),
    "evaluate": _call("Evaluate"),
    "score": _call("Score"),
    "serve": _serve,
    "export": _call("Export"),
    "compare": _call("Compare"),
    "results": _call("Results"),
    "bench": _actions("bench", "Bench", **dict.fromkeys(("train", "data", "serve"), "bench_commands")),
}

if __name__ == "__main__":
    raise SystemExit(main())
