"""A worker process for `stage.Stage`: `worker.py ingest|refresh [WHAT IS WRONG WITH IT]`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    kind, *wrong = sys.argv[1:]
    if wrong:
        from broken import break_process

        break_process(*wrong)
    from deploy.cli import main

    sys.argv = ["gallery", kind]
    main()
