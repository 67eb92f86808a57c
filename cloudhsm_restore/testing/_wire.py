"""AWS JSON 1.1 over HTTP on 127.0.0.1: requests in, answers out, and nothing about backups."""

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Any, Self, cast

_logger = logging.getLogger("cloudhsm_restore.testing")

_TARGET = "BaldrApiService."
_JSON = "application/x-amz-json-1.1"
_LONGEST_BODY = 999_999


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back for one request."""

    status: int
    body: bytes
    content_type: str = _JSON
    missing: int = 0
    """How many bytes of the body the connection ends before."""
    last: bool = False
    """Whether the connection ends after it."""

    @classmethod
    def of(cls, value: object, status: int = 200) -> Self:
        """An answer in JSON, with timestamps as AWS sends them: seconds since 1970, with fractions."""
        return cls(status, json.dumps(value, default=datetime.timestamp).encode())

    @classmethod
    def error(cls, code: str, message: str, status: int = 400) -> Self:
        """An answer that is an AWS error."""
        return cls.of({"__type": code, "Message": message}, status)


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and asks ``answer`` about every request; None drops the connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[str, Mapping[str, Any]], Answer | None]) -> None:
        self.answer = answer
        self.connections: dict[socket, threading.Thread] = {}
        self._serving: list[threading.Thread] = []
        super().__init__(("127.0.0.1", port), _Handler)
        self._listening = threading.Thread(
            target=self.serve_forever, args=(0.02,), name=f"LocalCloudHsm-{self.server_port}", daemon=True
        )
        self._listening.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that `hang_up` knows from before it runs until it has ended."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._serving = [*filter(threading.Thread.is_alive, self._serving), thread]
        self.connections[request] = thread
        thread.start()

    def stop_listening(self) -> None:
        """Accept no more connections; the port is free afterwards."""
        self.shutdown()
        self._listening.join()
        self.server_close()

    def hang_up(self) -> None:
        """End all connections, once nobody listens, and wait for their threads, but for the one that asks."""
        for connection, thread in list(self.connections.items()):
            if thread is not threading.current_thread():
                with suppress(OSError):  # the client may have been faster
                    connection.shutdown(SHUT_RDWR)
        for thread in self._serving:
            if thread is not threading.current_thread():
                thread.join()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A connection that the client ends early is nothing to print."""
        _logger.debug("a connection from %s ended early", client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    raw_requestline: bytes
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]  (only a Server makes one)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.connections.pop(self.connection, None)

    def parse_request(self) -> bool:
        """The standard library takes control characters for blanks, and so more for a request than it is."""
        if re.fullmatch(rb"[ -~]+\r?\n", self.raw_requestline):
            return super().parse_request()
        self.send_error(400)
        return False

    def do_POST(self) -> None:
        answer = self._answer()
        if answer is None:
            self.close_connection = True
        else:
            self._send(answer)

    def _answer(self) -> Answer | None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return Answer.error("MalformedHttpRequestException", "Nothing says where the body ends.")
        target = ",".join(self.headers.get_all("X-Amz-Target", []))
        if not target.startswith(_TARGET):
            return Answer.error(
                "UnknownOperationException", "X-Amz-Target names no operation of this service."
            )
        try:
            request: Any = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return Answer.error("SerializationException", "The body is no JSON object.")
        try:
            return self.server.answer(target.removeprefix(_TARGET), cast("dict[str, Any]", request))
        except Exception:
            _logger.exception("the local service has a bug")
            return Answer.error("InternalFailure", "The local service has a bug.", 500)

    def _body(self) -> bytes | None:
        lengths = set(self.headers.get_all("Content-Length", []))
        broken = self.headers.defects or self.headers.get_payload()
        if len(lengths) != 1 or "Transfer-Encoding" in self.headers or broken:
            return None  # where the request ends is anybody's guess
        length = lengths.pop()
        if not (length.isascii() and length.isdigit() and len(length) <= len(str(_LONGEST_BODY))):
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _send(self, answer: Answer) -> None:
        self.close_connection = self.close_connection or answer.last or bool(answer.missing)
        phrase = self.responses.get(answer.status, ("Unknown",))[0]
        head = [
            f"HTTP/1.1 {answer.status} {phrase}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body) + answer.missing}",
            f"x-amzn-RequestId: {uuid.uuid4()}",
            *(["Connection: close"] if self.close_connection else []),
        ]
        # In one write: two small ones would wait for each other's acknowledgement.
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What the standard library refuses, refused as AWS would put it."""
        self.close_connection = True
        self._send(Answer.error("MalformedHttpRequestException", message or "Malformed HTTP.", code))
