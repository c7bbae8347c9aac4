"""The SDK of services that publish events: `from producers import Publisher`.

The event classes come from `schemas.events`, the errors from `schemas.errors`.
"""

from __future__ import annotations

from pathlib import Path

import schemas

_HERE = Path(__file__).resolve().parent
_FOUND = [Path(folder).resolve() for folder in schemas.__path__]
if [_HERE.with_name("schemas")] != _FOUND:
    raise ImportError(
        "gallery-analytics needs its own package `schemas`, and Python found another one: "
        f"{', '.join(map(str, _FOUND))} instead of {_HERE.with_name('schemas')}. "
        "Rename yours, or move its folder behind gallery-analytics on sys.path.",
        name="schemas",
    )

# After the check: these imports would fail in an obscure way inside the other package.
from producers.publisher import Publisher, Stats  # noqa: E402

__all__ = ["Publisher", "Stats"]
