"""A small server with the chat API of OpenAI that counts its calls and shows any fault of real servers."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


def answer(text: str | None, *, finish: str = "stop", usage: Any = "default", **message: Any) -> Body:
    """The body of a good answer."""
    counts = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage == "default" else usage
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "test-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}],
        **({"usage": counts} if counts is not None else {}),
    }


class Handler(BaseHTTPRequestHandler):
    """One request. `reply` does what a behaviour says."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        if self.server.no_models or not self.path.endswith("/v1/models"):
            self.send(404, {"error": {"message": "Not Found"}})
        else:
            self.send(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            number = len(self.server.calls)
            self.server.calls.append(Call(self.path, headers, body, time.monotonic()))
            self.server.running += 1
            self.server.most_running = max(self.server.most_running, self.server.running)
        try:
            if not self.path.endswith("/v1/chat/completions"):
                self.send(404, {"error": {"message": "no such route"}})
            else:
                self.server.behave(self, body, number)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has given up
        finally:
            with self.server.lock:
                self.server.running -= 1

    def send(self, status: int, body: Body | str, **headers: str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def cut_off(self, text: str) -> None:
        """Promise more bytes than are sent."""
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "100000")
        self.end_headers()
        self.wfile.write(text.encode())
        self.close_connection = True

    def trickle(self, text: str, seconds: float) -> None:
        """Send a byte at a time, so that no pause between two bytes is long."""
        data = text.encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(seconds)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Call:
    path: str
    headers: dict[str, str]  # names in lower case
    body: Body
    time: float

    @property
    def question(self) -> str:
        """The last message."""
        return str(self.body["messages"][-1]["content"])


Behaviour = Callable[[Handler, Body, int], None]


def good(handler: Handler, body: Body, number: int) -> None:
    """Answer with the last line of the last message that is a turn."""
    turns = [line for line in body["messages"][-1]["content"].splitlines() if line.startswith("#Person")]
    handler.send(200, answer(f"{(turns or ['?'])[-1].replace(':', '은')}라고 말한다."))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, behave: Behaviour = good) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = behave
        self.calls: list[Call] = []
        self.lock = threading.Lock()
        self.running = self.most_running = 0
        self.models = ["test-model", "other-model"]
        self.no_models = False

    def handle_error(self, *_: Any) -> None:
        pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def running(behave: Behaviour = good) -> Iterator[Server]:
    server = Server(behave)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class First:
    """A behaviour for the first call of each question, or for the first `count` of them, and then good answers."""

    fault: Behaviour
    count: int = 1
    seen: dict[str, int] = field(default_factory=dict)

    def __call__(self, handler: Handler, body: Body, number: int) -> None:
        question = body["messages"][-1]["content"]
        self.seen[question] = self.seen.get(question, 0) + 1
        (self.fault if self.seen[question] <= self.count else good)(handler, body, number)
