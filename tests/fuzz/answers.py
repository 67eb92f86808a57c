"""Answers: whatever comes back, it is a `Backup` or a `RestoreError`, and one that is true.

An input is two characters, what is called and how often boto3 may try, and then the answers, in turn, to
every request; the last is repeated::

    r2
    502

    <html>
    %%
    200
    x-amzn-requestid: 1

    {"Backup": {"BackupId": "backup-a2b3c4d5e6f"}}

`answer` hands them to boto3 through its event ``before-send``. `wire` lets http.client, urllib3 and botocore
read them from a socket, and there each answer is the bytes on the wire, to the end of the connection.
"""

# pyright: basic

import json
import random
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, cast

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
from .checks import check_backup, check_error, check_line, fits, holds, logged

BACKUP_ID: Final = "backup-a2b3c4d5e6f"
KEY, TOKEN = "SECRETKEYSECRETKEYSECRETKEY", "TOKENTOKENTOKENTOKEN/+="
BETWEEN: Final = b"\n%%\n"
REQUEST: Final = b"@REQUEST@"
"""Stands in an answer for the request's headers, which AWS repeats when a signature is wrong."""

_LONGEST = 60_000
_MOST_TRIES = 1_000

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
    """What is called, how often boto3 may try, and the answers."""

    call: int
    attempts: int
    answers: list[bytes]

    @classmethod
    def read(cls, data: bytes) -> "Script":
        """Any bytes are a script."""
        letter, digit = (data[:2] + b"r1"[len(data[:2]) :])[:2]
        call = LETTERS.find(letter)
        return cls(
            call if call >= 0 else letter % len(LETTERS),
            1 + (digit - ord("1")) % 3,
            data[2:_LONGEST].removeprefix(b"\n").split(BETWEEN),
        )

    def write(self) -> bytes:
        """The input that is read as this script."""
        return b"%c%d\n" % (LETTERS[self.call], self.attempts) + BETWEEN.join(self.answers)


@dataclass
class Try:
    """One request, and what it was answered."""

    operation: str
    status: int
    """0 where there was none."""
    was_sent: bool
    is_plain_refusal: bool = False


@dataclass
class Service:
    """Answers requests from a script and keeps account of it."""

    answers: list[bytes] = field(default_factory=list[bytes])
    tries: list[Try] = field(default_factory=list[Try])
    secrets: set[str] = field(default_factory=set[str])

    def begin(self, answers: list[bytes]) -> None:
        self.answers, self.tries, self.secrets = answers, [], {KEY, TOKEN}

    def next(self, request: Any) -> bytes:
        """The next answer, with the request repeated in it where it asks for that."""
        holds(len(self.tries) < _MOST_TRIES, "it does not end")
        authorization = _text(request.headers["Authorization"])
        self.secrets.add(authorization.rpartition("=")[2])
        head = f"authorization:{authorization}\\nx-amz-security-token:{TOKEN}\\n"
        answer = self.answers[min(len(self.tries), len(self.answers) - 1)]
        return answer.replace(REQUEST, head.encode())[:_LONGEST]

    def send(self, request: Any, event_name: str, **_: Any) -> AWSResponse:
        """Answer boto3's event."""
        operation = event_name.rpartition(".")[2]
        head, _separator, body = self.next(request).partition(b"\n\n")
        first, *lines = head.split(b"\n")
        if first.startswith(b"timeout"):
            self.tries.append(Try(operation, 0, was_sent=True))
            raise ReadTimeoutError(endpoint_url=request.url)
        if first.startswith(b"refused"):
            self.tries.append(Try(operation, 0, was_sent=False))
            raise EndpointConnectionError(endpoint_url=request.url)
        found = re.match(rb"[1-9]\d\d", first)
        status = int(found[0]) if found else 200
        headers = dict(_header(line) for line in lines if line)
        refusal = 400 <= status < 500 and not headers and _is_plain(body)
        self.tries.append(Try(operation, status, was_sent=True, is_plain_refusal=refusal))
        return AWSResponse(request.url, status, cast("Any", headers), _Raw(body))


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


class _Raw:
    """The part of urllib3's response that botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._body


@dataclass
class Rig:
    """Clients that ask one `Service`, one for each number of tries."""

    service: Service
    clients: dict[int, VirtualTimeClient]


def _clients(prepare: Callable[[Any], None]) -> dict[int, VirtualTimeClient]:
    session = boto3.Session("AKIAEXAMPLE", KEY, TOKEN, region_name="us-east-1")
    clients: dict[int, VirtualTimeClient] = {}
    for attempts in (1, 2, 3):
        # The standard mode has a quota, and an input must not depend on the inputs before it.
        retries: Any = {"total_max_attempts": attempts, "mode": "legacy"}
        config = Config(proxies={}, read_timeout=5, retries=retries)
        client = session.client("cloudhsmv2", endpoint_url="http://127.0.0.1:1", config=config)
        prepare(client)
        clients[attempts] = VirtualTimeClient(client)
    return clients


@contextmanager
def _without_sleep() -> Iterator[None]:
    """boto3 decides itself whether to try again; only its sleep is taken out."""
    module: Any = botocore.endpoint
    before, module.time = module.time, SimpleNamespace(time=time.time, sleep=lambda _: None)
    try:
        yield
    finally:
        module.time = before


@cache
def _in_process() -> Rig:
    service = Service()
    return Rig(
        service,
        _clients(lambda client: client.meta.events.register("before-send.cloudhsm-v2", service.send)),
    )


def _called(rig: Rig, script: Script) -> tuple[Backup | list[Backup] | None, RestoreError | None]:
    """What came of a call: one of the two. Whatever else is raised is a find."""
    rig.service.begin(script.answers)
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
        # As boto3's parser has read it, boto3's validator must take it back.
        holds(fits(backup.model_dump(by_alias=True, exclude_unset=True), "Backup"), "not boto3's shape")
    if isinstance(result, Backup):
        holds(result.backup_id == BACKUP_ID, f"it is another backup, {result.backup_id}")
    return result, error


def answer(data: bytes) -> None:
    """Play a script through boto3's event, and raise AssertionError where something does not hold."""
    rig, script = _in_process(), Script.read(data)
    result, error = _called(rig, script)
    name, tries = CALLS[script.call][0], rig.service.tries
    holds(tries, "nothing was asked")
    if isinstance(result, Backup):
        holds(200 <= tries[-1].status < 301 or tries[-1].status < 200, "a backup out of an error")
        if name.startswith("ensure"):
            holds(result.backup_state is BackupState.READY, "returned, and not READY")
    if error is None:
        return
    if name in {"get_backup", "describe_backups"}:
        holds(not error.outcome_unknown, "a call that only reads is in doubt")
        return
    restoring = [each for each in tries if each.operation == "RestoreBackup"]
    in_doubt = any(each.was_sent and not 301 <= each.status < 500 for each in restoring)
    told = error.outcome_unknown or (error.backup is not None and error.backup.backup_state == "READY")
    holds(told or not in_doubt, "a try that was in doubt is forgotten")
    # To ensure_restored an invalid request says that the backup may be READY; DescribeBackups decides.
    leaves_open = name != "restore_backup" and any(b"InvalidRequest" in each for each in script.answers)
    if all(each.is_plain_refusal or not each.was_sent for each in tries) and not leaves_open:
        holds(not error.outcome_unknown, "in doubt, and every try was plainly refused")
    if name == "restore_backup":
        if isinstance(error, InternalFailureError):
            holds(error.outcome_unknown, "an internal failure leaves no doubt")
        if isinstance(error, ApiError):
            holds(error.attempts == len(tries), f"{error.attempts} attempts, and there were {len(tries)}")
            holds(error.http_status_code == tries[-1].status, "another status than the last")
        holds(len(tries) <= script.attempts, "more tries than boto3 was allowed")


# --- On the wire ---


class _WireService(Service):
    """Answers on sockets: each connection gets the next answer, and its end."""

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.sendall(self._coming)
        theirs.shutdown(socket.SHUT_WR)
        self._open.append(theirs)
        return ours

    def begin(self, answers: list[bytes]) -> None:
        super().begin(answers)
        self._open: list[socket.socket] = []
        self._coming = b""

    def expect(self, request: Any, event_name: str, **_: Any) -> None:
        """Before boto3 connects: this is the answer that it will find."""
        self._coming = self.next(request)
        refusal = 300 <= _status(self._coming) < 500
        operation = event_name.rpartition(".")[2]
        self.tries.append(Try(operation, 400 if refusal else 0, was_sent=True))

    def end(self) -> None:
        for theirs in self._open:
            theirs.close()


def _status(answer: bytes) -> int:
    """The status as http.client reads it, to which any HTTP/1.x is one, and any white space; 0 for none."""
    try:
        version, status = answer.partition(b"\n")[0].decode("latin-1").split(None, 2)[:2]
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

    return Rig(service, _clients(prepare)), service


def wire(data: bytes) -> None:
    """The same with bytes that boto3 reads from a socket. Every request is sent, so that much is known."""
    rig, service = _on_the_wire()
    script = Script.read(data)
    try:
        _result, error = _called(rig, script)
    finally:
        service.end()
    holds(
        not isinstance(error, ConnectError | ConfigurationError | ParameterError),
        f"{type(error).__name__} for a request that was sent",
    )
    if error is not None and CALLS[script.call][0] == "restore_backup":
        refused = all(each.status == 400 for each in service.tries)
        holds(error.outcome_unknown or refused, "a try that was in doubt is forgotten")


# --- Inputs to begin with ---


def scripts(answers: Iterable[bytes]) -> Iterator[bytes]:
    """Every call with these answers."""
    several = list(answers)
    for call in range(len(CALLS)):
        for attempts in (1, 2, 3):
            yield Script(call, attempts, several).write()


def body(status: int, content: object, *headers: str) -> bytes:
    """One answer as a script has it."""
    text = content if isinstance(content, str) else json.dumps(content)
    return "\n".join([str(status), *headers, "", text]).encode()
