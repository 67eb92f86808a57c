"""Requests: a `LocalCloudHsm` survives any bytes, and responds with 200 only to valid requests."""

# pyright: basic

import json
import re
import socket
import struct
import threading
import time
from functools import cache
from typing import Any, Final

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import LocalCloudHsm

from .checks import fits, holds, service_model

TIMEOUT: Final = 60
"""Seconds until silence counts as a hang. A response takes a millisecond."""
ID: Final = b"backup-a2b3c4d5e6f"
_OPERATIONS: Final = ("DescribeBackups", "DeleteBackup", "RestoreBackup", "ModifyBackupAttributes")
_HOST: Final = b"Host: x\r\n"
"""Stands for the service's authority in the corpus, because its port is not known before it listens."""
_LINGER: Final = struct.pack("ii", 1, 0)


@cache
def _service() -> LocalCloudHsm:
    return LocalCloudHsm()


def request(data: bytes) -> None:
    """Send the bytes after the first, which is the mode, and raise AssertionError if a promise is violated.

    Modes: ``a`` ends the stream and reads the responses; ``b`` sends byte by byte; ``c`` closes the connection
    before the response; ``d`` keeps it open, sends no more, and the service is closed meanwhile.
    """
    first, sent = data[:1] or b"a", data[1:]
    service = _service()
    for backup_id in list(service.backups):
        service.remove_backup(backup_id)
    service.add_backup(backup_id=ID.decode(), backup_state=BackupState.PENDING_DELETION)
    since = len(service.requests)
    mode = "abcd"[ord(first) % 4 - 1]
    if mode == "d":
        _close_meanwhile(sent)
        return
    with _connected(service) as connection:
        received, was_reset = _converse(connection, _addressed(sent, service), mode)
    _wait_until_idle(service)
    if mode != "c":
        successes = _statuses(received).count(200)
        done = sum(request.done for request in service.requests[since:])
        valid = len(valid_requests(sent))
        matches = successes <= done if was_reset else successes == done
        holds(matches, f"{successes} times 200 for {done} requests carried out")
        holds(done <= valid, f"{done} requests carried out, and {valid} are valid")
    _check_alive(service)
    _wait_until_idle(service)


def _authority(service: LocalCloudHsm) -> str:
    return service.endpoint_url.removeprefix("http://")


def _addressed(sent: bytes, service: LocalCloudHsm) -> bytes:
    return sent.replace(_HOST, f"Host: {_authority(service)}\r\n".encode())


def _connected(service: LocalCloudHsm) -> socket.socket:
    port = int(service.endpoint_url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)  # Leaves no port in TIME_WAIT.
    return connection


def _wait_until_idle(service: LocalCloudHsm) -> None:
    """Wait until the service has closed its connections, because a request in flight would affect the next input."""
    server: Any = service._server
    end = time.monotonic() + TIMEOUT
    while server.connections:
        holds(time.monotonic() < end, "the service does not close a connection")
        time.sleep(0.001)


def _converse(connection: socket.socket, sent: bytes, mode: str) -> tuple[bytes, bool]:
    """Return what was received, and whether the connection was reset, which may drop responses."""
    received, was_reset = b"", False
    try:
        if mode == "b":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for index in range(min(len(sent), 64)):
                connection.sendall(sent[index : index + 1])
            connection.sendall(sent[64:])
        else:
            connection.sendall(sent)
        if mode == "c":
            return b"", False
        connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError, OSError) as error:
        holds(not isinstance(error, TimeoutError), "the service does not read")
        was_reset = True
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except TimeoutError:
        raise AssertionError("the service hangs") from None
    except OSError:
        was_reset = True  # The service closed the connection while more of the request was in flight.
    return received, was_reset


def _check_alive(service: LocalCloudHsm) -> None:
    """Check that the service responds to a plain request."""
    with _connected(service) as connection:
        content = b"{}"
        head = (
            f"POST / HTTP/1.1\r\nHost: {_authority(service)}\r\n"
            "X-Amz-Target: BaldrApiService.DescribeBackups\r\nContent-Length: 2\r\n\r\n"
        )
        connection.sendall(head.encode() + content)
        holds(connection.recv(65536).startswith(b"HTTP/1.1 200 "), "the service is down")


def _close_meanwhile(sent: bytes) -> None:
    """Close a service while a connection is open, and check that no thread is left."""
    threads = set(threading.enumerate())
    service = LocalCloudHsm()
    with _connected(service) as connection:
        connection.sendall(_addressed(sent, service)[:65536])
        began = time.monotonic()
        service.close()
        holds(time.monotonic() - began < TIMEOUT, "close() hangs")
        holds(set(threading.enumerate()) <= threads, "a thread is left")


def _statuses(received: bytes) -> list[int]:
    """Return the statuses of the responses, which must be HTTP."""
    statuses: list[int] = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.1 (\d\d\d) [A-Za-z -]*\r\n", head + b"\r\n")
        holds(found and separator, f"not HTTP: {received[:80]!r}")
        assert found is not None
        status = int(found[1])
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(length[1]) if length else 0
        holds(length or status == 100, "a response without a length")
        if status != 100:
            content = json.loads(rest[:size])
            holds(isinstance(content, dict), "not a JSON object")
            holds((status == 200) != ("__type" in content), f"{status} with {content}")
            holds(status < 500 or status in {501, 505}, f"{status}: {content}")
            if b"\r\nContent-Type: application/json\r\n" not in head:  # The control endpoint sends that.
                statuses.append(status)
        received = rest[size:]
    return statuses


# --- Valid requests, found without the code of the service ---


def valid_requests(sent: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the requests of the stream that are HTTP and valid by botocore's service model."""
    found: list[tuple[str, dict[str, Any]]] = []
    while True:
        sent = re.sub(rb"\A\r?\n", b"", sent)
        match = re.match(rb"POST +\S+ +HTTP/[01]\.\d+ *\r?\n((?:[^\n]+\n)*?)\r?\n", sent)
        if match is None:
            return found
        headers: dict[bytes, list[bytes]] = {}
        for line in match[1].splitlines():
            if not re.match(rb"[^\s:]+[ \t]*:|[ \t]", line):
                return found
            name, _separator, value = line.partition(b":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        lengths = set(headers.get(b"content-length", []))
        if headers.get(b"host") != [b"x"]:
            return found
        if b"transfer-encoding" in headers or len(lengths) != 1 or not (length := lengths.pop()).isdigit():
            return found
        content = sent[match.end() : match.end() + int(length)]
        if len(content) < int(length):
            return found
        sent = sent[match.end() + int(length) :]
        request = _valid(headers.get(b"x-amz-target", []), content)
        if request is not None:
            found.append(request)


def _valid(targets: list[bytes], content: bytes) -> tuple[str, dict[str, Any]] | None:
    operation = targets[0].decode("latin-1").removeprefix("BaldrApiService.") if len(targets) == 1 else ""
    if operation not in _OPERATIONS or targets[0] != b"BaldrApiService." + operation.encode():
        return None
    try:
        request: Any = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    shape: Any = service_model().operation_model(operation).input_shape
    known = {key: value for key, value in request.items() if key in shape.members and value is not None}
    return (operation, known) if fits(known, shape.name) else None
