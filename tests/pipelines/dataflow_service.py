"""Google Cloud on loopback: a storage emulator, and a REST endpoint that accepts jobs."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

from gcp_storage_emulator.server import create_server

# It warns of every download.
logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)

_JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/?]+))?(/messages)?")


class FakeDataflow:
    """Keeps the jobs that are sent to it, and says of each that it is in one state."""

    def __init__(self, state: str) -> None:
        """Starts to listen; `state` is a name such as JOB_STATE_RUNNING."""
        self.jobs: list[dict[str, Any]] = []
        self._state = state
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.jobs.append(json.loads(body))
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                match = _JOBS.match(self.path)
                if match is None:
                    self.send_error(404)
                    return
                answer = {} if match[4] else service._describe(match[1], match[2])
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        self.endpoint = f"http://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _describe(self, project: str, region: str) -> dict[str, Any]:
        name = self.jobs[-1]["name"]
        return {
            "id": "2000-01-01_00_00_00-1", "projectId": project, "location": region,
            "name": name, "currentState": self._state,
        }  # fmt: skip


@contextlib.contextmanager
def storage_emulator(bucket: str) -> Iterator[str]:
    """A Cloud Storage in memory with one bucket; gives its address."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server = create_server("localhost", port, in_memory=True, default_bucket=bucket)
    server.start()
    try:
        yield f"http://localhost:{port}"
    finally:
        server.stop()
