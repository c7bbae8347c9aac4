"""`python -m grafana`: render the dashboards to JSON; `--check` names those out of date."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.dashboards import compare, gallery, health, sponsor
from grafana.layout import export_link

FOLDER: Final = Path(__file__).parent / "provisioning" / "dashboards"


def dashboards() -> list[Dashboard]:
    """Every dashboard of the product."""
    return [gallery.build(), compare.build(), sponsor.build(), health.build()]


def rendered(export_url: str | None = None) -> Mapping[str, str]:
    """File name → JSON of every dashboard; with a link to the export service, where one is named."""
    built = dashboards()
    if export_url:
        for dashboard in built:
            dashboard.links = [*(dashboard.links or []), export_link(export_url, str(dashboard.uid)).build()]
    return {
        f"{dashboard.uid}.json": json.dumps(dashboard, cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"
        for dashboard in built
    }


def render(folder: Path = FOLDER, export_url: str | None = None) -> list[Path]:
    """Write every dashboard; a file of a dashboard that is no more is removed. Returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = rendered(export_url)
    for path in folder.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def drift(folder: Path = FOLDER) -> list[str]:
    """The files that are missing, too many or not what the source gives."""
    files = rendered()
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))


def main() -> int:
    """Entry point of `python -m grafana`."""
    parser = argparse.ArgumentParser(prog="python -m grafana", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    if not parser.parse_args().check:
        sys.stdout.write("\n".join(map(str, render())) + "\n")
        return 0
    if wrong := drift():
        sys.stderr.write(f"out of date: {', '.join(wrong)}. Run `gallery dashboards render`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
