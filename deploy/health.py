"""/live and /ready of a worker, over HTTP, with its counts as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from schemas.errors import SetupError


def serve(host: str, port: int, *, ready: Callable[[], bool], state: Callable[[], Mapping[str, Any]]) -> None:
    """Answer in a thread of its own until the process ends.

    /live: 200 while the process runs. /ready: 200 when `ready()`, else 503. Both carry `state()`.
    Raises SetupError when the port is taken.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/live", "/ready"):
                self.send_error(404, "this worker answers /live and /ready")
                return
            fine = self.path == "/live" or ready()
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
