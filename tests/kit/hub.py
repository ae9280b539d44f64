"""A hub for data sets on the loopback address."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee"


@dataclass
class FakeHub:
    """data sets: name → file → bytes. token: what readers must send; busy: so many 429s first."""

    datasets: Mapping[str, Mapping[str, bytes]]
    token: str | None = None
    busy: int = 0
    is_forged: bool = False  # sends other bytes than its hashes say
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if self.busy:
            self.busy -= 1
            return 429, {"Retry-After": "0"}, b""
        if self.token is not None and authorization != f"Bearer {self.token}":
            return 401, {}, b""
        for name, files in self.datasets.items():
            if path == f"/api/datasets/{name}/revision/main":
                listed = [{"rfilename": file} for file in files]
                tree = {"sha": COMMIT, "siblings": listed, "cardData": {"license": "mit"}}
                return 200, {}, json.dumps(tree).encode()
            for file, content in files.items():
                if path == f"/datasets/{name}/resolve/{COMMIT}/{file}":
                    etag = hashlib.sha256(content).hexdigest()
                    return 200, {"ETag": f'"{etag}"'}, b"forged" if self.is_forged else content
        return 404, {}, b""


@contextmanager
def running_hub(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
