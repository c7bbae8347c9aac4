"""Where the viewer's page is, and whether it is there: what commands say without loading the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grafana
from deploy.settings import Settings

PAGE: Final = Path(grafana.__file__).parent / "viewer" / "dist"
MISSING: Final = "The dashboards are not built: install Node 20.19 or newer, then run `make viewer`."


def built(page: Path = PAGE) -> bool:
    """Whether `make viewer` has made the page."""
    return (page / "index.html").is_file()


def address(settings: Settings) -> str:
    """The URL of the dashboards."""
    host = settings.viewer_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.viewer_port}"


def whereabouts(settings: Settings, path: str = "") -> str:
    """The URL for people, or what is missing."""
    return f"{address(settings)}{path}" if built() else MISSING
