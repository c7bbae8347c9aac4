"""A worker process for `stage.Stage`: `worker.py ingest|refresh|faces [WHAT IS WRONG WITH IT]`.

A face worker takes coloured squares for faces (tests/squares.py), 0.2 s each picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    kind, *wrong = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if wrong:
        from broken import break_process

        break_process(*wrong)
    if kind == "faces":
        from face_process import run

        run(0.2)
    else:
        from deploy.cli import main

        sys.argv = ["gallery", kind]
        main()
