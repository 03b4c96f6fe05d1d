"""glibc's memory: fresh from the kernel for every large tensor (its default), or kept and used again.

A tensor above 32 MB is mapped anew each time, and every page of it faults when it is first touched; elementwise work
on it is then 3 to 4 times slower. `mallopt` changes that for a process; other C libraries have no such switch.
What was kept is not given back afterwards, so that a row which runs in the default way later may find some of it: that
makes shipped TRL look a little faster than it is in a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h
_LARGEST_DYNAMIC = 32 << 20  # where glibc's own threshold ends up once tensors of this size have been freed


def available() -> bool:
    """Whether this process runs on glibc."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@contextlib.contextmanager
def reusing() -> Iterator[None]:
    """Freed memory stays with the process while the context is open; elsewhere than on glibc, nothing changes."""
    if not available():
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, 65_536)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_DYNAMIC)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_DYNAMIC)
