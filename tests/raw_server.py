"""Responses with the bytes that a test gives: from a server, and without a socket."""

import json
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self, cast

from botocore.awsrequest import AWSResponse

from cloudhsm_restore.testing import backup_response

BACKUP_ID = "backup-a2b3c4d5e6f"


def http(
    body: bytes | object, status: str = "200 OK", content_type: str = "application/x-amz-json-1.1"
) -> bytes:
    """Return a whole HTTP response; a body that is not bytes is sent as JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"x-amzn-RequestId: 11111111-2222-4333-8444-555555555555\r\n\r\n" + body


def error_response(code: str, message: str = "no", status: str = "400 Bad Request") -> bytes:
    """Return AWS's error response with a code."""
    return http({"__type": code, "Message": message}, status)


def wire_backup(**fields: Any) -> dict[str, Any]:
    """Return the JSON of a restored backup; ``fields``, named as on the wire, override the usual ones."""
    backup: dict[str, Any] = dict(backup_response(backup_id=BACKUP_ID)["Backup"])
    backup["CreateTimestamp"] = 1534461854.64
    return backup | fields


def in_process(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> AWSResponse:
    """Return a response for a handler of botocore's event ``before-send``, which then sends nothing."""
    return AWSResponse("http://127.0.0.1:1", status, cast("Any", headers or {}), cast("Any", _Raw(body)))


class _Raw:
    """The part of urllib3's response that botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._body


RESTORED = http({"Backup": wire_backup()})
REJECTED = error_response("CloudHsmInvalidRequestException", "Backup is not in state PENDING_DELETION.")
DROP = None
"""Closes the connection instead of responding."""


class LastResponse(bytes):
    """A response after which the server closes the connection."""


class RawServer:
    """Sends one response of the queue for each request. DROP closes the connection, SILENCE sends nothing."""

    SILENCE = b""

    def __init__(self) -> None:
        self.responses: deque[bytes | None] = deque()
        self.requests: list[bytes] = []
        self.stop_after: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def respond(self, *responses: bytes | None, then_stop: bool = False) -> str:
        """Queue responses and return the URL. With ``then_stop`` nothing listens after the last request."""
        url = self.url
        self.responses.extend(responses)
        self.stop_after = len(self.requests) + len(responses) if then_stop else None
        return url

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            with connection:
                self._serve_connection(connection)

    def _serve_connection(self, connection: socket.socket) -> None:
        received = b""
        while True:
            head, separator, body = received.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            if separator and len(body) >= length:
                self.requests.append(received)
                received = b""
                if len(self.requests) == self.stop_after:
                    self._listener.close()
                response = self.responses.popleft() if self.responses else None
                if response is None:
                    return
                connection.sendall(response)
                if isinstance(response, LastResponse):
                    return
                continue
            try:
                chunk = connection.recv(65536)
            except OSError:
                return
            if not chunk:
                return
            received += chunk

    def close(self) -> None:
        for connection in self._connections:
            with suppress(OSError):  # The client may have closed its end first.
                connection.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):  # With `then_stop` the listener is closed already.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
