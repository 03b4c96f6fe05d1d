"""`python -m pluralign` is the command `pluralign`."""

from __future__ import annotations

from pluralign.cli import main

raise SystemExit(main())
