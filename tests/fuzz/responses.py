"""Responses: each leads to a `Backup` or a `RestoreError`, and the report is true.

An input is two characters, for the call and for boto3's number of attempts, and then the response to each
request in turn; the last one is repeated::

    r2
    502

    <html>
    %%
    200
    x-amzn-requestid: 1

    {"Backup": {"BackupId": "backup-a2b3c4d5e6f"}}

`response` returns them to boto3 from its event ``before-send``. For `wire`, http.client, urllib3, and botocore
read them from a socket: a response is then all bytes of one connection. Repetitions and secrets are written as
in `sizes`.
"""

# pyright: basic

import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import boto3
import botocore.endpoint
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSResponse
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from cloudhsm_restore import (
    ApiError,
    Backup,
    BackupState,
    ConfigurationError,
    ConnectError,
    InternalFailureError,
    ParameterError,
    RestoreError,
)

from ..clients import VirtualTimeClient
from ..raw_server import in_process
from .checks import check_backup, check_error, check_line, fits, holds, logged
from .sizes import KEY, LARGE, SECRETS, TOKEN, check_work, expanded

BACKUP_ID: Final = "backup-a2b3c4d5e6f"
BETWEEN: Final = b"\n%%\n"
REQUEST: Final = b"@REQUEST@"
"""Placeholder for the headers of the request, which AWS repeats in the response to an invalid signature."""

_MAX_SCRIPT = 60_000
_MAX_ATTEMPTS = 1_000

Calls = Callable[[VirtualTimeClient], Backup | list[Backup]]
CALLS: Final[tuple[tuple[str, Calls], ...]] = (
    ("describe_backups", lambda client: list(client.describe_backups(states=["READY", "PENDING_DELETION"]))),
    ("ensure_restored", lambda client: client.ensure_restored(BACKUP_ID, timeout=20)),
    ("restore_backup", lambda client: client.restore_backup(BACKUP_ID)),
    ("get_backup", lambda client: client.get_backup(BACKUP_ID)),
    ("ensure_exempt", lambda client: client.ensure_restored(BACKUP_ID, never_expires=True, timeout=20)),
)
LETTERS: Final = b"dergx"
"""One for each call: d, e, r, g, and x for ensure_restored with never_expires."""


@dataclass
class Script:
    """A call, boto3's number of attempts, and the responses."""

    call: int
    attempts: int
    responses: list[bytes]

    @classmethod
    def read(cls, data: bytes) -> "Script":
        """Parse any bytes as a script."""
        letter, digit = (data[:2] + b"r1"[len(data[:2]) :])[:2]
        call = LETTERS.find(letter)
        return cls(
            call if call >= 0 else letter % len(LETTERS),
            1 + (digit - ord("1")) % 3,
            data[2:_MAX_SCRIPT].removeprefix(b"\n").split(BETWEEN),
        )

    def write(self) -> bytes:
        """Return the input that is parsed as this script."""
        return b"%c%d\n" % (LETTERS[self.call], self.attempts) + BETWEEN.join(self.responses)


@dataclass
class Attempt:
    """One request and the status of its response."""

    operation: str
    status: int
    """0 if there was no response."""
    was_sent: bool
    is_plain_rejection: bool = False


@dataclass
class Service:
    """Responds to requests from a script, and records the attempts."""

    responses: list[bytes] = field(default_factory=list[bytes])
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    secrets: set[str] = field(default_factory=set[str])
    received: int = 0
    """Bytes that the client received."""

    def start(self, responses: list[bytes]) -> None:
        self.responses, self.attempts, self.secrets, self.received = responses, [], {*SECRETS}, 0

    def next(self, request: Any) -> bytes:
        """Return the next response, with the headers of the request in place of REQUEST."""
        holds(len(self.attempts) < _MAX_ATTEMPTS, "the call does not end")
        authorization = _text(request.headers["Authorization"])
        self.secrets.add(authorization.rpartition("=")[2])
        head = f"authorization:{authorization}\\nx-amz-security-token:{TOKEN}\\n"
        content = self.responses[min(len(self.attempts), len(self.responses) - 1)]
        content = expanded(content.replace(REQUEST, head.encode()))
        self.received += len(content)
        return content

    def send(self, request: Any, event_name: str, **_: Any) -> AWSResponse:
        """Handle boto3's event: return a response, or raise."""
        operation = event_name.rpartition(".")[2]
        head, _separator, body = self.next(request).partition(b"\n\n")
        first, *lines = head.split(b"\n")
        if first.startswith(b"timeout"):
            self.attempts.append(Attempt(operation, 0, was_sent=True))
            raise ReadTimeoutError(endpoint_url=request.url)
        if first.startswith(b"connection-refused"):
            self.attempts.append(Attempt(operation, 0, was_sent=False))
            raise EndpointConnectionError(endpoint_url=request.url)
        found = re.match(rb"[1-9]\d\d", first)
        status = int(found[0]) if found else 200
        headers = dict(_header(line) for line in lines if line)
        rejection = 400 <= status < 500 and not headers and _is_plain(body)
        self.attempts.append(Attempt(operation, status, was_sent=True, is_plain_rejection=rejection))
        return in_process(body, status, headers)


def _header(line: bytes) -> tuple[str, str]:
    name, _separator, value = line.decode("latin-1").partition(":")
    return name.strip(), value.strip()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


_PLAIN: Final = re.compile(
    rb'\{"__type": "(CloudHsmInvalidRequest|CloudHsmAccessDenied|CloudHsmResourceNotFound|Throttling)'
    rb'Exception", "Message": "[a-z ]*"\}'
)


def _is_plain(body: bytes) -> bool:
    return _PLAIN.fullmatch(body) is not None


@dataclass
class Rig:
    """The clients of one `Service`, one for each number of attempts."""

    service: Service
    clients: dict[int, VirtualTimeClient]

    def check_work(self, script: Script) -> None:
        """Check that one call, with boto3's retries, costs little more than boto3's own."""
        client = self.clients[script.attempts]
        boto3_client: Any = client._client
        calls: tuple[Callable[[], object], Callable[[], object]] = (
            (
                lambda: client.restore_backup(BACKUP_ID),
                lambda: boto3_client.restore_backup(BackupId=BACKUP_ID),
            )
            if CALLS[script.call][0] == "restore_backup"
            else (lambda: client.get_backup(BACKUP_ID), boto3_client.describe_backups)
        )

        def started(call: Callable[[], object]) -> Callable[[], object]:
            def start() -> object:
                self.service.start(script.responses)
                return call()

            return start

        with _without_sleep():
            check_work(lambda: self.service.received, *map(started, calls))


def clients(prepare: Callable[[Any], None]) -> dict[int, VirtualTimeClient]:
    session = boto3.Session("AKIAEXAMPLE", KEY, TOKEN, region_name="us-east-1")
    made: dict[int, VirtualTimeClient] = {}
    for attempts in (1, 2, 3):
        # The standard mode has a quota of retries, and an input must not depend on the inputs before it.
        retries: Any = {"total_max_attempts": attempts, "mode": "legacy"}
        config = Config(proxies={}, read_timeout=5, retries=retries)
        client = session.client("cloudhsmv2", endpoint_url="http://127.0.0.1:1", config=config)
        prepare(client)
        made[attempts] = VirtualTimeClient(client)
    return made


@contextmanager
def _without_sleep() -> Iterator[None]:
    """Replace boto3's sleep between attempts. Whether it retries is still its decision."""
    module: Any = botocore.endpoint
    original, module.time = module.time, SimpleNamespace(time=time.time, sleep=lambda _: None)
    try:
        yield
    finally:
        module.time = original


@cache
def scripted() -> Rig:
    """Return clients whose responses come from a script, without a socket."""
    service = Service()
    return Rig(
        service,
        clients(lambda client: client.meta.events.register("before-send.cloudhsm-v2", service.send)),
    )


class Ran(NamedTuple):
    """What a call has done."""

    result: Backup | list[Backup] | None
    error: RestoreError | None
    attempts: list[Attempt]


def run(rig: Rig, script: Script) -> Ran:
    """Make the call, and return what it did. Another exception than a `RestoreError` is a finding."""
    rig.service.start(script.responses)
    random.seed(0)
    client = rig.clients[script.attempts]
    client.waits.clear()
    result: Backup | list[Backup] | None = None
    error: RestoreError | None = None
    with _without_sleep(), logged() as lines:
        try:
            result = CALLS[script.call][1](client)
        except RestoreError as raised:
            error = raised
    for line in lines:
        check_line(line)
        holds(not any(secret in line for secret in rig.service.secrets), f"a secret in the log: {line}")
    if error is not None:
        check_error(error, rig.service.secrets)
    for backup in [result] if isinstance(result, Backup) else result or []:
        check_backup(backup)
        # boto3's parser has produced the backup, so boto3's validator must accept it.
        holds(fits(backup.model_dump(by_alias=True, exclude_unset=True), "Backup"), "not boto3's shape")
    if isinstance(result, Backup):
        holds(result.backup_id == BACKUP_ID, f"another backup, {result.backup_id}")
    ran = Ran(result, error, rig.service.attempts)
    if rig.service.received >= LARGE:
        rig.check_work(script)
    return ran


def response(data: bytes) -> None:
    """Run a script through boto3's event, and raise AssertionError if a promise is violated."""
    rig, script = scripted(), Script.read(data)
    result, error, attempts = run(rig, script)
    name = CALLS[script.call][0]
    holds(attempts, "nothing was sent")
    if isinstance(result, Backup):
        holds(
            200 <= attempts[-1].status < 301 or attempts[-1].status < 200, "a backup from an error response"
        )
        if name.startswith("ensure"):
            holds(result.backup_state is BackupState.READY, "returned a backup that is not READY")
    if error is None:
        return
    holds(type(error) is not RestoreError, "an error of no class")
    if name in {"get_backup", "describe_backups"}:
        holds(not error.outcome_unknown, "the outcome of a read is unknown")
        return
    restores = [attempt for attempt in attempts if attempt.operation == "RestoreBackup"]
    ambiguous = any(attempt.was_sent and not 301 <= attempt.status < 500 for attempt in restores)
    reported = error.outcome_unknown or (error.backup is not None and error.backup.backup_state == "READY")
    holds(reported or not ambiguous, "an ambiguous attempt is not reported")
    # After an invalid request the backup may be READY, so ensure_restored resolves it with DescribeBackups.
    unresolved = name != "restore_backup" and any(
        b"InvalidRequest" in content for content in script.responses
    )
    if all(attempt.is_plain_rejection or not attempt.was_sent for attempt in attempts) and not unresolved:
        holds(not error.outcome_unknown, "the outcome is unknown, and every attempt was rejected")
    if name == "restore_backup":
        if isinstance(error, InternalFailureError):
            holds(error.outcome_unknown, "an internal failure is not ambiguous")
        if isinstance(error, ApiError):
            holds(error.attempts == len(attempts), f"{error.attempts} attempts instead of {len(attempts)}")
            holds(error.http_status_code == attempts[-1].status, "not the last status")
        holds(len(attempts) <= script.attempts, "more attempts than allowed")


# --- On the wire ---


class _WireService(Service):
    """Responds on sockets: each connection gets the next response, and its end."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[socket.socket, threading.Thread]] = []
        self._next = b""

    def connect(self) -> socket.socket:
        client, server = socket.socketpair()
        # In a thread, because a large response does not fit into the buffer of a socket.
        thread = threading.Thread(target=_send, args=(server, self._next))
        thread.start()
        self._open.append((server, thread))
        return client

    def start(self, responses: list[bytes]) -> None:
        super().start(responses)
        self.close()
        self._next = b""

    def expect(self, request: Any, event_name: str, **_: Any) -> None:
        """Choose the response before boto3 connects."""
        self._next = self.next(request)
        rejection = 300 <= _status(self._next) < 500
        operation = event_name.rpartition(".")[2]
        self.attempts.append(Attempt(operation, 400 if rejection else 0, was_sent=True))

    def close(self) -> None:
        for connection, thread in self._open:
            with suppress(OSError):  # The client may have closed its end first.
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
            connection.close()
        self._open.clear()


def _send(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # The client may read only a part of it.
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)


def _status(content: bytes) -> int:
    """Return the status as http.client parses it: any HTTP/1.x, any white space; 0 if there is none."""
    try:
        version, status = content.partition(b"\n")[0].decode("latin-1").split(None, 2)[:2]
        return int(status) if version.startswith("HTTP/1.") else 0
    except ValueError:
        return 0


@cache
def _on_the_wire() -> tuple[Rig, _WireService]:
    service = _WireService()

    class Connection(AWSHTTPConnection):
        def _new_conn(self) -> socket.socket:
            return service.connect()

    class Pool(AWSHTTPConnectionPool):
        ConnectionCls = Connection

    def prepare(client: Any) -> None:
        client._endpoint.http_session._manager.pool_classes_by_scheme = {"http": Pool}
        client.meta.events.register("before-send.cloudhsm-v2", service.expect)

    return Rig(service, clients(prepare)), service


def wire(data: bytes) -> None:
    """Run a script through sockets. Every request is sent, so ConnectError would be false."""
    rig, service = _on_the_wire()
    script = Script.read(data)
    try:
        _, error, attempts = run(rig, script)
    finally:
        service.close()
    holds(
        not isinstance(error, ConnectError | ConfigurationError | ParameterError),
        f"{type(error).__name__} for a request that was sent",
    )
    if error is not None and CALLS[script.call][0] == "restore_backup":
        rejected = all(attempt.status == 400 for attempt in attempts)
        holds(error.outcome_unknown or rejected, "an ambiguous attempt is not reported")


# --- Seeds ---


def scripts(responses: Iterable[bytes]) -> Iterator[bytes]:
    """Yield every call with these responses."""
    contents = list(responses)
    for call in range(len(CALLS)):
        for attempts in (1, 2, 3):
            yield Script(call, attempts, contents).write()


def body(status: int, content: object, *headers: str) -> bytes:
    """Return one response in the form that a script has."""
    text = content if isinstance(content, str) else json.dumps(content)
    return "\n".join([str(status), *headers, "", text]).encode()
