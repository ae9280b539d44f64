"""An endpoint that gives its client's key back wherever it can: in answers, errors, headers, addresses."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers["authorization"].removeprefix("Bearer ")
        words = body["prompt"].split()
        number = int(words[2]) if len(words) > 2 and words[2].isdigit() else -1
        status, answer = _said(number, key)
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.send_header("x-request-id", f"id-{key}")
        self.send_header("location", f"http://127.0.0.1:9/v1?api_key={key}")
        self.send_header("set-cookie", f"session={key}")
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


def _said(number: int, key: str) -> tuple[int, dict[str, Any] | bytes]:
    """Return what becomes of one question: most are answered, and the key is somewhere in all of them."""
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    match number:
        case 1:
            return 400, {"error": {"message": f"Incorrect API key provided: {key}", "code": "x"}}
        case 2:
            return 403, f"<html>Authorization: Bearer {key}</html>".encode()
        case 3:
            return 422, {"detail": [{"headers": {"authorization": f"Basic {basic}"}, "url": quote(key)}]}
        case 4:
            return 302, b""
        case 5:
            return 200, {"error": {"message": f"api_key={key}"}}
        case 6:
            return 200, f"no JSON at all, {key}".encode()
    text = f" {2 * number}" if number >= 0 else " Paris"
    choice = {"index": 0, "text": text, "finish_reason": "stop", "note": key}
    return 200, {"id": key, "object": "text_completion", "model": "fake-model", "choices": [choice]}


@contextmanager
def echoing_endpoint() -> Iterator[str]:
    """Serve it on the loopback; yields its address without /v1."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
