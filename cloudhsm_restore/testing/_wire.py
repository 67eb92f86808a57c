"""AWS JSON 1.1 over HTTP on 127.0.0.1: requests and responses, whatever they are about."""

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
from socket import MSG_PEEK, SHUT_RDWR, socket
from typing import Any, Final, Literal, Self, cast
from urllib.parse import urlsplit

_logger = logging.getLogger("cloudhsm_restore.testing")

_TARGET: Final = "BaldrApiService."
_JSON: Final = "application/x-amz-json-1.1"
_MAX_BODY_BYTES: Final = 999_999
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT: Final = 80
_EARLY_HINTS: Final = b"HTTP/1.1 103 Early Hints\r\n\r\n"
_MAX_WAIT_AFTER_HINTS: Final = 0.1
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Response:
    """The response to one request."""

    status: int
    body: bytes
    content_type: str = _JSON
    missing_bytes: int = 0
    """How many bytes of the body are not sent: the connection closes first."""
    close_after: bool = False
    """Whether the connection closes after this response, which announces it."""
    location: str | None = None
    """The Location header."""
    hints_first: bool = False
    """Whether an interim response comes first, and this one as soon as the client sends or closes."""
    copies: int = 1
    """How many times the response is sent."""
    drop: Literal["at once", "with the next request"] | None = None
    """When the connection closes after this response without announcing it."""

    @classmethod
    def of(cls, value: object, status: int = 200) -> Self:
        """Create a JSON response, with timestamps as AWS sends them: seconds since 1970, with fractions."""
        return cls(status, json.dumps(value, default=datetime.timestamp).encode())

    @classmethod
    def error(cls, code: str, message: str, status: int = 400) -> Self:
        """Create an AWS error response."""
        return cls.of({"__type": code, "Message": message}, status)


@dataclass(frozen=True, slots=True)
class Service:
    """What a `Server` serves."""

    respond: Callable[[str, Mapping[str, Any]], Response | None]
    """Carries out an AWS operation with its request. None closes the connection without a response."""
    control: Callable[[str, str, str, bytes], Response | None]
    """Carries out a control request: method, path, media type, body. None: the path is not a control path."""
    observe: Callable[[str, int], None]
    """Is called with each other request, and the status of the response to it."""


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and passes each request to ``service``."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, service: Service) -> None:
        self.service = service
        self.connections: dict[socket, threading.Thread] = {}
        self._connection_threads: list[threading.Thread] = []
        super().__init__(("127.0.0.1", port), _Handler)
        # The owner of a web page can make its name resolve to 127.0.0.1 (DNS rebinding). A browser then sends
        # the page's requests here, but still with the page's name in the Host header.
        self.hosts = {f"{name}:{self.server_port}" for name in _LOOPBACK}
        if self.server_port == _HTTP_PORT:
            self.hosts.update(_LOOPBACK)  # RFC 9110, 7.2: the default port can be left out
        self._listening = threading.Thread(
            target=self.serve_forever, args=(0.02,), name=f"LocalCloudHsm-{self.server_port}", daemon=True
        )
        self._listening.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread. `close_connections` waits for it from before it starts."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._connection_threads = [*filter(threading.Thread.is_alive, self._connection_threads), thread]
        self.connections[request] = thread
        thread.start()

    def stop_listening(self) -> None:
        """Accept no more connections and free the port."""
        self.shutdown()
        self._listening.join()
        self.server_close()

    def close_connections(self) -> None:
        """Close all connections and wait for their threads, except the calling one. Stop listening first."""
        for connection, thread in list(self.connections.items()):
            if thread is not threading.current_thread():
                with suppress(OSError):  # the client may have closed it already
                    connection.shutdown(SHUT_RDWR)
        for thread in self._connection_threads:
            if thread is not threading.current_thread():
                thread.join()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log at debug level only: a client may close a connection for many reasons."""
        _logger.debug("a connection from %s ended early", client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    raw_requestline: bytes
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]  (only a Server creates one)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.connections.pop(self.connection, None)

    def parse_request(self) -> bool:
        # The standard library takes control characters for spaces, so it would accept malformed requests.
        if re.fullmatch(rb"[ -~]+\r?\n", self.raw_requestline):
            return super().parse_request()
        self.send_error(400)
        return False

    def do_GET(self) -> None:
        try:
            self._respond()
        except OSError:  # the client closed the connection
            raise
        except Exception:
            _logger.exception("the local service has a bug")
            self._send_other(Response.error("InternalFailure", "The local service has a bug.", 500))

    do_POST = do_DELETE = do_GET  # noqa: N815  (names that the standard library looks up)

    def _respond(self) -> None:
        body = self._body()
        authority, path = self._target()
        if not self._is_for_loopback(authority):
            self.close_connection = True  # because the body may be unread
            message = f"The Host header must be one of {', '.join(sorted(self.server.hosts))}."
            self._send_other(Response.error("AccessDeniedException", message, 403))
        elif body is None:
            self.close_connection = True
            message = "Content-Length is missing or invalid."
            self._send_other(Response.error("MalformedHttpRequestException", message))
        elif control := self.server.service.control(
            self.command, path, self.headers.get_content_type(), body
        ):
            self._send_other(control)
        elif self.command == "POST":
            self._operation(body)
        else:
            message = f"There is no {self.command} {path}."
            self._send_other(Response.error("UnknownOperationException", message, 404))

    def _operation(self, body: bytes) -> None:
        target = ",".join(self.headers.get_all("X-Amz-Target", []))
        if not target.startswith(_TARGET):
            message = "X-Amz-Target does not name an operation of this service."
            self._send_other(Response.error("UnknownOperationException", message))
            return
        try:
            request: Any = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            self._send_other(Response.error("SerializationException", "The body is not a JSON object."))
            return
        operation = target.removeprefix(_TARGET)
        response = self.server.service.respond(operation, cast("dict[str, Any]", request))
        if response is None:
            self.close_connection = True
        else:
            self._send(response)

    def _target(self) -> tuple[str, str]:
        """Return the authority, which only the absolute form of a request target has, and the path."""
        try:
            url = urlsplit(self.path)
        except ValueError:
            return "invalid", ""
        return ("", url.path) if self.path.startswith("/") else (url.netloc or "invalid", url.path)

    def _is_for_loopback(self, authority: str) -> bool:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1:  # RFC 9112, 3.2: a server must reject such a request
            return False
        return {hosts[0].strip().lower(), authority.lower() or hosts[0].strip().lower()} <= self.server.hosts

    def _body(self) -> bytes | None:
        lengths = set(self.headers.get_all("Content-Length", []))
        malformed = self.headers.defects or self.headers.get_payload() or "Transfer-Encoding" in self.headers
        if not lengths and not malformed and self.command != "POST":
            return b""
        if len(lengths) != 1 or malformed:
            return None  # the end of the request is unknown
        length = lengths.pop()
        if not (length.isascii() and length.isdigit() and len(length) <= len(str(_MAX_BODY_BYTES))):
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _send_other(self, response: Response) -> None:
        self.server.service.observe(f"{self.command} {self.path}", response.status)
        self._send(response)

    def _send(self, response: Response) -> None:
        self.close_connection = self.close_connection or response.close_after or bool(response.missing_bytes)
        phrase = self.responses.get(response.status, ("Unknown",))[0]
        head = [
            f"HTTP/1.1 {response.status} {phrase}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body) + response.missing_bytes}",
            f"x-amzn-RequestId: {uuid.uuid4()}",
            *([f"Location: {response.location}"] if response.location else []),
            *(["Connection: close"] if self.close_connection else []),
        ]
        if response.hints_first:
            self.wfile.write(_EARLY_HINTS)
            self._await_client(_MAX_WAIT_AFTER_HINTS)
        # In one write, because two small ones would wait for each other's acknowledgment.
        self.wfile.write(("\r\n".join([*head, "", ""]).encode() + response.body) * response.copies)
        if response.drop == "with the next request":
            self._await_client()
        self.close_connection = self.close_connection or response.drop is not None

    def _await_client(self, seconds: float | None = None) -> None:
        """Wait until the client sends something or closes the connection."""
        self.connection.settimeout(seconds)
        with suppress(TimeoutError):
            self.connection.recv(1, MSG_PEEK)
        self.connection.settimeout(None)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Send an error of the standard library in AWS's format."""
        self.close_connection = True
        if getattr(self, "command", None):  # otherwise the request line is malformed
            self.server.service.observe(f"{self.command} {self.path}", code)
        else:
            self.server.service.observe("malformed", code)
        self._send(Response.error("MalformedHttpRequestException", message or "Malformed HTTP.", code))
