"""Commands on a real disk that is too small: a tmpfs that only one process sees, in a user namespace of its own.

No privilege is needed where the kernel lets people make user namespaces; elsewhere the tests skip.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import FORKS

_NEW_USER, _NEW_MOUNTS, _REMOUNT = 0x10000000, 0x00020000, 32


@dataclass(frozen=True)
class Outcome:
    """What one command did, and the files on the disk after it: name below the disk -> content."""

    code: int
    err: str
    files: dict[str, bytes]


def run_on_disk(disk: Path, kilobytes: int, first: Sequence[object], later: Sequence[object] = ()) -> list[Outcome]:
    """Run `pluralign FIRST` with a disk of that size mounted on the empty folder `disk`; then, with room, `LATER`."""
    out = disk.parent / f"{disk.name}-seen"
    out.mkdir()
    commands = [[str(word) for word in command] for command in (first, later) if command]
    process = FORKS.Process(target=_child, args=(disk, kilobytes, commands, out))
    process.start()
    process.join(120)
    assert process.exitcode == 0, "the process of the small disk failed"
    found = json.loads((out / "seen.json").read_text())
    if "refused" in found:
        pytest.skip(f"this system gives people no tmpfs of their own: {found['refused']}")
    return [
        Outcome(each["code"], each["err"], {name: (out / kept).read_bytes() for name, kept in each["files"].items()})
        for each in found["outcomes"]
    ]


def _child(disk: Path, kilobytes: int, commands: list[list[str]], out: Path) -> None:
    try:
        _own_namespace()
        _mount(disk, kilobytes, 0)
    except OSError as error:
        (out / "seen.json").write_text(json.dumps({"refused": str(error)}))
        return
    outcomes = []
    for number, command in enumerate(commands):
        if number:
            _mount(disk, 1 << 16, _REMOUNT)
        code, err = _run(command)
        outcomes.append({"code": code, "err": err, "files": _kept(disk, out, number)})
    (out / "seen.json").write_text(json.dumps({"outcomes": outcomes}))


def _run(command: list[str]) -> tuple[int, str]:
    import torch

    from pluralign.cli import main

    torch.set_num_threads(1)
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    return code, err.getvalue()


def _kept(disk: Path, out: Path, number: int) -> dict[str, str]:
    """Copies of the disk's files, which go with the process."""
    names = {}
    for place, path in enumerate(sorted(path for path in disk.rglob("*") if path.is_file())):
        names[path.relative_to(disk).as_posix()] = f"{number}-{place}"
        (out / f"{number}-{place}").write_bytes(path.read_bytes())
    return names


def _own_namespace() -> None:
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_USER | _NEW_MOUNTS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(text)


def _mount(disk: Path, kilobytes: int, flags: int) -> None:
    _call("mount", b"tmpfs", bytes(disk), b"tmpfs", ctypes.c_ulong(flags), f"size={kilobytes}k".encode())


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, name):
        raise OSError(f"no {name} on this system")
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
