"""Requests: whatever is sent to a `LocalCloudHsm`, it lives, and says 200 only to what deserves it."""

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

PATIENCE: Final = 60
"""Seconds until silence counts as a hang. An answer takes a millisecond."""
ID: Final = b"backup-a2b3c4d5e6f"
_OPERATIONS: Final = ("DescribeBackups", "DeleteBackup", "RestoreBackup", "ModifyBackupAttributes")
_HOST: Final = b"Host: x\r\n"
"""Stands for the service's own authority: its port is not known before it runs."""
_LINGER: Final = struct.pack("ii", 1, 0)


@cache
def _service() -> LocalCloudHsm:
    return LocalCloudHsm()


def request(data: bytes) -> None:
    """Send the bytes after the first, which says how, and raise AssertionError where something is wrong.

    The first character: ``a`` ends the stream and reads the answers; ``b`` sends byte by byte; ``c`` is gone
    before the answer; ``d`` stays, sends no more, and the service is closed meanwhile.
    """
    how, sent = data[:1] or b"a", data[1:]
    service = _service()
    for backup_id in list(service.backups):
        service.remove_backup(backup_id)
    service.add_backup(backup_id=ID.decode(), backup_state=BackupState.PENDING_DELETION)
    since = len(service.requests)
    way = "abcd"[ord(how) % 4 - 1]
    if way == "d":
        _close_meanwhile(sent)
        return
    with _connected(service) as connection:
        received, was_reset = _converse(connection, _addressed(sent, service), way)
    _let_it_end(service)
    if way != "c":
        answers = _answers(received)
        good = [each for each in answers if each == 200]
        done = [each for each in service.requests[since:] if each.done]
        deserving = valid_requests(sent)
        as_many = len(good) <= len(done) if was_reset else len(good) == len(done)
        holds(as_many, f"{len(good)} times 200 for {len(done)} requests carried out")
        holds(
            len(done) <= len(deserving), f"{len(done)} carried out, and {len(deserving)} requests deserve it"
        )
    _ask_after(service)
    _let_it_end(service)


def _authority(service: LocalCloudHsm) -> str:
    return service.endpoint_url.removeprefix("http://")


def _addressed(sent: bytes, service: LocalCloudHsm) -> bytes:
    return sent.replace(_HOST, f"Host: {_authority(service)}\r\n".encode())


def _connected(service: LocalCloudHsm) -> socket.socket:
    port = int(service.endpoint_url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)  # leaves no port waiting
    return connection


def _let_it_end(service: LocalCloudHsm) -> None:
    """Wait until the service has noticed that nobody is there, or the next input would find what it does."""
    server: Any = service._server
    end = time.monotonic() + PATIENCE
    while server.connections:
        holds(time.monotonic() < end, "it does not notice that nobody is there")
        time.sleep(0.001)


def _converse(connection: socket.socket, sent: bytes, way: str) -> tuple[bytes, bool]:
    """What came back, and whether the connection was reset, which may take answers with it."""
    received, was_reset = b"", False
    try:
        if way == "b":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for index in range(min(len(sent), 64)):
                connection.sendall(sent[index : index + 1])
            connection.sendall(sent[64:])
        else:
            connection.sendall(sent)
        if way == "c":
            return b"", False
        connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError, OSError) as error:
        holds(not isinstance(error, TimeoutError), "it does not read")
        was_reset = True
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except TimeoutError:
        raise AssertionError("it hangs") from None
    except OSError:
        was_reset = True  # it had enough before the end, and the rest of the request was on its way
    return received, was_reset


def _ask_after(service: LocalCloudHsm) -> None:
    """It lives on: a plain request is answered."""
    with _connected(service) as connection:
        content = b"{}"
        head = (
            f"POST / HTTP/1.1\r\nHost: {_authority(service)}\r\n"
            "X-Amz-Target: BaldrApiService.DescribeBackups\r\nContent-Length: 2\r\n\r\n"
        )
        connection.sendall(head.encode() + content)
        holds(connection.recv(65536).startswith(b"HTTP/1.1 200 "), "it is down")


def _close_meanwhile(sent: bytes) -> None:
    """A service of its own is closed while a connection stands open; no thread stays."""
    before = set(threading.enumerate())
    service = LocalCloudHsm()
    with _connected(service) as connection:
        connection.sendall(_addressed(sent, service)[:65536])
        began = time.monotonic()
        service.close()
        holds(time.monotonic() - began < PATIENCE, "closing takes for ever")
        holds(set(threading.enumerate()) <= before, "a thread stays behind")


def _answers(received: bytes) -> list[int]:
    """The statuses of the answers, which must be HTTP."""
    statuses: list[int] = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.1 (\d\d\d) [A-Za-z -]*\r\n", head + b"\r\n")
        holds(found and separator, f"no HTTP: {received[:80]!r}")
        assert found is not None
        status = int(found[1])
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(length[1]) if length else 0
        holds(length or status == 100, "an answer without a length")
        if status != 100:
            content = json.loads(rest[:size])
            holds(isinstance(content, dict), "no JSON object")
            holds((status == 200) != ("__type" in content), f"{status} with {content}")
            holds(status < 500 or status in {501, 505}, f"{status}: {content}")
            if b"\r\nContent-Type: application/json\r\n" not in head:  # the control endpoint's own
                statuses.append(status)
        received = rest[size:]
    return statuses


# --- What deserves a 200, by a reading of its own ---


def valid_requests(sent: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The requests in the stream, as far as they are HTTP, that botocore's service model allows."""
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
