"""An endpoint that knows BFCL's conversations: bfcl_conversations.py DATA CATEGORY WRONG…

It makes the calls that the possible answers name, and none in the cases WRONG. It prints its address.
"""

import ast
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "BFCL_v4"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class Script:
    """Which calls are right in each turn of each conversation."""

    def __init__(self, data: Path, category: str, wrong: set[str]) -> None:
        name = f"{VERSION}_{category}.json"
        self._answers = {row["id"]: row["ground_truth"] for row in _lines(data / "possible_answer" / name)}
        self._cases = {row["question"][0][-1]["content"]: row["id"] for row in _lines(data / name)}
        self._wrong = wrong

    def message(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the assistant's next message: a turn's calls, and words once they have been made."""
        asked = [message["content"] for message in messages if message["role"] == "user"]
        case = self._cases.get(asked[0])
        calls = self._answers[case][len(asked) - 1] if case and messages[-1]["role"] == "user" else []
        if not calls or case in self._wrong:
            return {"role": "assistant", "content": "Paris."}
        made = [_tool_call(number, call) for number, call in enumerate(calls)]
        return {"role": "assistant", "content": None, "tool_calls": made}


def _tool_call(number: int, call: str) -> dict[str, Any]:
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    assert isinstance(tree.func, ast.Name)
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords}
    function = {"name": tree.func.id, "arguments": json.dumps(arguments)}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers chat requests."""

        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "fake-model", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = script.message(body["messages"])
            reason = "tool_calls" if "tool_calls" in message else "stop"
            choice = {"index": 0, "message": message, "finish_reason": reason}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            about = {"id": "chat", "object": "chat.completion", "created": 1, "model": body["model"]}
            self._send({**about, "choices": [choice], "usage": usage})

        def _send(self, tree: dict[str, Any]) -> None:
            content = json.dumps(tree).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def main(data: Path, category: str, wrong: set[str]) -> None:
    """Serve until killed."""
    script = Script(data, category, wrong)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(script)) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], set(sys.argv[3:]))
