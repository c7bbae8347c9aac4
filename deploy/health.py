"""/live and /ready of a worker, over HTTP, with its counts as JSON."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from schemas.errors import SetupError


def serve(
    host: str,
    port: int,
    *,
    ready: Callable[[], bool],
    state: Callable[[], Mapping[str, Any]],
    live: Callable[[], bool] = lambda: True,
) -> None:
    """Answer in a thread of its own until the process ends.

    /live: 200 while the process works or waits, 503 when `live()` says that it hangs and is to be
    started again. /ready: 200 when `ready()`, else 503. Both carry `state()`. Raises SetupError when the
    port is taken.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/live", "/ready"):
                self.send_error(404, "this worker answers /live and /ready")
                return
            fine = live() if self.path == "/live" else ready()
            body = json.dumps({"ready": ready(), **state()}).encode()
            self.send_response(200 if fine else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Probes are not worth a line each."""

    try:
        server = ThreadingHTTPServer((host, port), Answer)
    except OSError as error:
        raise SetupError(f"the health port {port} is taken ({error.strerror}): choose another one") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()


def waits_for(url: str) -> str:
    """What a worker's /ready says that it waits for, in a line; "" when it works."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - http:// URLs of our own making
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        told = json.load(error) if error.code == 503 else {}
    except (OSError, ValueError):
        return "its health port does not answer"
    reasons = "; ".join(f"{what}: {why}" for what, why in told.get("waiting", {}).items())
    return reasons or ("" if told.get("ready") else "it is not ready")
