"""HTTP on a thread: requests, answers, a log of them, and the faults that happen to them."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .faults import Fault, FaultTable


@dataclass
class Request:
    """One request; also a line of the log, then without its body."""

    port: str
    """`hub` or `blobs`."""
    method: str
    path: str
    """As sent, quoted, without the query."""
    query: dict[str, str]
    headers: Message
    """Whatever the case of their names."""
    body: bytes = b""
    size: int = 0
    """Bytes of the body."""
    status: int | None = None
    """What was answered; None: nothing."""
    fault: str | None = None
    """The kind of the fault it met."""

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body or b"{}")


@dataclass
class Answer:
    """Status, body and headers; Content-Length is counted."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer that is raised: the Hub's error headers and its JSON body."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: Any) -> None:
        headers = {"X-Error-Message": message, "Content-Type": "application/json"}
        headers |= {"X-Error-Code": code} if code else {}
        super().__init__(message)
        self.answer = Answer(status, json.dumps({"error": message, **body}).encode(), headers)


def json_answer(value: Any, status: int = 200) -> Answer:
    """JSON with its content type."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def file_answer(request: Request, data: bytes, headers: Mapping[str, str]) -> Answer:
    """A file, or the part of it a `Range: bytes=N-M` asks for."""
    told = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if not asked or request.method == "HEAD" or asked.group() == "bytes=-":
        return Answer(200, data, told)
    first, last = asked.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1 if first and last else len(data), len(data))
    if start >= end:
        return Answer(416, b"", told | {"Content-Range": f"bytes */{len(data)}"})
    return Answer(206, data[start:end], told | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})


class Port:
    """A server on a free port of 127.0.0.1; `answer` turns a request into an answer."""

    def __init__(self, name: str, answer: Callable[[Request], Answer], faults: FaultTable, log: list[Request]) -> None:
        self.name, self.answer, self.faults, self.log = name, answer, faults, log
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"port": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop, also what hangs."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self.connections):
            _shut(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    port: Port

    def setup(self) -> None:
        super().setup()
        self.port.connections.add(self.connection)

    def finish(self) -> None:
        self.port.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: `Port.log` is the log."""

    def do_ANY(self) -> None:
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query, True))
        request = Request(self.port.name, self.command, target.path, query, self.headers)
        self.port.log.append(request)
        fault = self.port.faults.take(self.command, unquote(self.path))
        request.fault = fault and fault.kind
        if fault and fault.kind == "drop":
            request.size = len(self._read(fault.after))
            return self._end()
        request.body = self._read()
        request.size = len(request.body)
        answer = self._work(request, fault)
        request.body = b""
        if answer is None or (fault and fault.kind == "lost-reply"):
            return self._end()
        return self._send(request, answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_ANY

    def _work(self, request: Request, fault: Fault | None) -> Answer | None:
        if fault and fault.kind == "status":
            return Answer(fault.status, fault.body, {"Content-Type": "application/json", **fault.headers})
        if fault and fault.kind in ("hang", "slow"):
            closing = self.port.closing.wait(fault.seconds)
            if closing or fault.kind == "hang":
                return None
        return self.port.answer(request)

    def _read(self, most: int | None = None) -> bytes:
        """The request's body, or the first bytes of it."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)[:most]
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if most is None else min(most, length))

    def _send(self, request: Request, answer: Answer, fault: Fault | None) -> None:
        body, kind = answer.body, fault.kind if fault else ""
        if kind == "wrong-size":
            body = body[:-1]
        if kind == "corrupt" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response_only(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        request.status = answer.status
        if self.command != "HEAD":
            self.wfile.write(body[: fault.after] if fault and kind == "cut" else body)
        if kind == "cut":
            self._end()

    def _end(self) -> None:
        self.close_connection = True
        _shut(self.connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is shut already
        return
