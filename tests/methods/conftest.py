"""Tiny matrices run faster, and repeatably, on one thread."""

import tiny  # noqa: F401  (sets it)
