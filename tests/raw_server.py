"""A server that answers each HTTP request with the very bytes that a test gives it."""

import json
import socket
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from cloudhsm_restore.testing import backup_response

BACKUP_ID = "backup-a2b3c4d5e6f"


def http(
    body: bytes | object, status: str = "200 OK", content_type: str = "application/x-amz-json-1.1"
) -> bytes:
    """A whole HTTP response; a body that is not bytes is sent as JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"x-amzn-RequestId: 11111111-2222-4333-8444-555555555555\r\n\r\n" + body


def error(code: str, message: str = "no", status: str = "400 Bad Request") -> bytes:
    """An AWS error."""
    return http({"__type": code, "Message": message}, status)


def wire_backup(**fields: Any) -> dict[str, Any]:
    """The JSON of a restored backup, with ``fields`` of the wire's own names instead of the usual."""
    backup: dict[str, Any] = dict(backup_response(backup_id=BACKUP_ID)["Backup"])
    backup["CreateTimestamp"] = 1534461854.64
    return backup | fields


RESTORED = http({"Backup": wire_backup()})
REFUSED = error("CloudHsmInvalidRequestException", "Backup is not in state PENDING_DELETION.")
DROP = None
"""Ends the connection instead of answering."""


class Last(bytes):
    """An answer after which the connection ends."""


class RawServer:
    """Answers from ``answers``, one for each request; DROP ends the connection, SILENCE sends nothing."""

    SILENCE = b""

    def __init__(self) -> None:
        self.answers: deque[bytes | None] = deque()
        self.requests: list[bytes] = []
        self.stop_after: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answer(self, *answers: bytes | None, then_nobody_listens: bool = False) -> str:
        """Queue answers; the URL to ask."""
        url = self.url
        self.answers.extend(answers)
        self.stop_after = len(self.requests) + len(answers) if then_nobody_listens else None
        return url

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
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
                answer = self.answers.popleft() if self.answers else None
                if answer is None:
                    return
                connection.sendall(answer)
                if isinstance(answer, Last):
                    return
                continue
            try:
                more = connection.recv(65536)
            except OSError:
                return
            if not more:
                return
            received += more

    def close(self) -> None:
        for connection in self._connections:
            with suppress(OSError):  # it may be gone already
                connection.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):  # it may be gone already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
