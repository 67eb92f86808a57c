"""Whatever boto3 returns or raises leaves as a Backup or as one of our exceptions, with the right doubt."""

import copy
import inspect
import json
import ssl
import string
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import boto3
import botocore.exceptions as boto
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

from cloudhsm_restore import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    Backup,
    BackupState,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    InternalFailureError,
    InvalidRequestError,
    ParameterError,
    ResourceNotFoundError,
    ResponseTimeoutError,
    RestoreClient,
    RestoreError,
    ServiceError,
    TagError,
    ThrottlingError,
    TransportError,
    UnexpectedResponseError,
)
from cloudhsm_restore.testing import LocalCloudHsm

from .clients import config, make_sync_client
from .conftest import MakeClient
from .raw_server import BACKUP_ID, DROP, REFUSED, RESTORED, Last, RawServer, error, http, wire_backup

# --- Codes ---

CODES: dict[str, type[ApiError]] = {
    "CloudHsmAccessDeniedException": AccessDeniedError,
    "AccessDeniedException": AccessDeniedError,
    "AccessDenied": AccessDeniedError,
    "NotAuthorized": AccessDeniedError,
    "OptInRequired": AccessDeniedError,
    "CloudHsmInternalFailureException": InternalFailureError,
    "InternalFailure": InternalFailureError,
    "InternalFailureException": InternalFailureError,
    "InternalServerError": InternalFailureError,
    "InternalServerErrorException": InternalFailureError,
    "ServiceUnavailable": InternalFailureError,
    "ServiceUnavailableException": InternalFailureError,
    "CloudHsmInvalidRequestException": InvalidRequestError,
    "InvalidRequestException": InvalidRequestError,
    "ValidationException": InvalidRequestError,
    "ValidationError": InvalidRequestError,
    "CloudHsmResourceNotFoundException": ResourceNotFoundError,
    "ResourceNotFoundException": ResourceNotFoundError,
    "CloudHsmServiceException": ServiceError,
    "CloudHsmTagException": TagError,
    "ExpiredToken": AuthenticationError,
    "ExpiredTokenException": AuthenticationError,
    "UnrecognizedClientException": AuthenticationError,
    "InvalidClientTokenId": AuthenticationError,
    "InvalidSignatureException": AuthenticationError,
    "IncompleteSignatureException": AuthenticationError,
    "MissingAuthenticationTokenException": AuthenticationError,
    "RequestExpired": AuthenticationError,
    "Throttling": ThrottlingError,
    "ThrottlingException": ThrottlingError,
    "TooManyRequestsException": ThrottlingError,
    "RequestLimitExceeded": ThrottlingError,
    "SlowDown": ThrottlingError,
    "ANewException": ApiError,
    "Exception": ApiError,
    "": ApiError,
}


@pytest.fixture(scope="module")
def boto3_client() -> Iterator[CloudHSMV2Client]:
    """A plain boto3 client, made once, for it takes its time."""
    client: CloudHSMV2Client = boto3.client(
        "cloudhsmv2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    yield client
    client.close()


@pytest.fixture
def stubbed(boto3_client: CloudHSMV2Client) -> Iterator[tuple[RestoreClient, Stubber]]:
    """A client of our own around a boto3 client that botocore's Stubber answers for."""
    with Stubber(boto3_client) as stubber:
        yield RestoreClient(boto3_client), stubber


@contextmanager
def raising(client: CloudHSMV2Client, error: BaseException) -> Generator[None]:
    """Lets an event handler within the next call raise ``error``."""

    def fail(**_: object) -> None:
        raise error

    client.meta.events.register("provide-client-params.cloudhsm-v2", fail)
    yield
    client.meta.events.unregister("provide-client-params.cloudhsm-v2", fail)


@pytest.mark.parametrize(("code", "cls"), CODES.items())
def test_every_code_finds_its_class(
    stubbed: tuple[RestoreClient, Stubber], code: str, cls: type[ApiError]
) -> None:
    """A code finds its class, with or without AWS's prefix, and the modelled exception is the cause."""
    client, stubber = stubbed
    stubber.add_client_error("restore_backup", code, "The message.", expected_params={"BackupId": "backup-1"})
    with pytest.raises(ApiError) as caught:
        client.restore_backup("backup-1")
    assert type(caught.value) is cls
    assert isinstance(caught.value.__cause__, boto.ClientError)
    assert caught.value.backup_id == "backup-1"
    assert caught.value.operation == "RestoreBackup"
    assert caught.value.outcome_unknown is (cls is InternalFailureError or not code)
    assert caught.value.retryable is (cls in (InternalFailureError, ThrottlingError))


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (301, ApiError),
        (307, ApiError),
        (400, ApiError),
        (401, AuthenticationError),
        (403, AccessDeniedError),
        (404, ApiError),
        (429, ThrottlingError),
        (500, InternalFailureError),
        (502, InternalFailureError),
        (503, InternalFailureError),
        (504, InternalFailureError),
    ],
)
def test_statuses_without_a_body(
    raw_server: RawServer, make_client: MakeClient, status: int, cls: type[ApiError]
) -> None:
    """A status without an AWS error code is ambiguous: a proxy on the way may have sent it."""
    client = make_client(raw_server.answer(http(b"", f"{status} Whatever")))
    with pytest.raises(ApiError) as caught:
        client.restore_backup(BACKUP_ID)
    assert type(caught.value) is cls
    assert caught.value.http_status_code == status
    assert caught.value.outcome_unknown


def test_any_5xx_is_in_doubt(stubbed: tuple[RestoreClient, Stubber]) -> None:
    """A 5xx leaves a doubt even where its code has another class."""
    client, stubber = stubbed
    stubber.add_client_error("restore_backup", "CloudHsmServiceException", http_status_code=500)
    with pytest.raises(ServiceError) as caught:
        client.restore_backup("backup-1")
    assert caught.value.outcome_unknown


# --- Doubt, counted over every try: on the wire ---

Row = tuple[list[bytes | None], type[RestoreError], bool]
LOST_THEN: dict[str, Row] = {
    "lost, refused": ([DROP, REFUSED], InvalidRequestError, True),
    "lost, throttled": ([DROP, error("ThrottlingException")], ThrottlingError, True),
    "lost, denied": ([DROP, error("AccessDeniedException")], AccessDeniedError, True),
    "lost, not found": ([DROP, error("CloudHsmResourceNotFoundException")], ResourceNotFoundError, True),
    "lost, lost": ([DROP, DROP], ConnectionLostError, True),
    "500, refused": ([http(b"", "500 Oops"), REFUSED], InvalidRequestError, True),
    "502, refused": ([http(b"<html>", "502 Bad", "text/html"), REFUSED], InvalidRequestError, True),
    "internal failure, refused": (
        [error("CloudHsmInternalFailureException", status="500 Oops"), REFUSED],
        InvalidRequestError,
        True,
    ),
    "throttled, refused": ([error("ThrottlingException"), REFUSED], InvalidRequestError, False),
    "throttled, throttled": ([error("ThrottlingException")] * 2, ThrottlingError, False),
    "throttled, lost": ([error("ThrottlingException"), DROP], ConnectionLostError, True),
    "refused": ([REFUSED], InvalidRequestError, False),
}


@pytest.mark.parametrize(("answers", "cls", "unknown"), LOST_THEN.values(), ids=LOST_THEN)
def test_every_try_counts(
    raw_server: RawServer,
    make_client: MakeClient,
    answers: list[bytes | None],
    cls: type[RestoreError],
    unknown: bool,
) -> None:
    """One lost try leaves the whole call in doubt, whatever the last try says; a throttled one does not."""
    client = make_client(raw_server.answer(*answers), retries={"total_max_attempts": 2, "mode": "standard"})
    with pytest.raises(RestoreError) as caught:
        client.restore_backup(BACKUP_ID)
    assert type(caught.value) is cls
    assert caught.value.outcome_unknown is unknown
    assert len(raw_server.requests) == len(answers)
    if isinstance(caught.value, ApiError):
        assert caught.value.attempts == len(answers)


def test_lost_and_then_nobody_listens(raw_server: RawServer, make_client: MakeClient) -> None:
    """A refused connection after a lost answer is in doubt, although the last try sent nothing."""
    url = raw_server.answer(DROP, then_nobody_listens=True)
    client = make_client(url, retries={"total_max_attempts": 2})
    with pytest.raises(ConnectError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    with pytest.raises(ConnectError) as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown


def test_a_retry_that_succeeds_is_a_success(raw_server: RawServer, make_client: MakeClient) -> None:
    """Where botocore's second try brings the backup, nobody hears of the first."""
    client = make_client(raw_server.answer(DROP, RESTORED), retries={"total_max_attempts": 2})
    assert client.restore_backup(BACKUP_ID).backup_state is BackupState.READY


def test_doubt_is_counted_for_a_client_that_the_user_brought(
    raw_server: RawServer, credentials: None
) -> None:
    """The tries of a ready boto3 client are seen too, however many RestoreClients share it."""
    theirs = boto3.client(
        "cloudhsmv2",
        endpoint_url=raw_server.answer(DROP, REFUSED, REFUSED),
        config=config(retries={"total_max_attempts": 2}),
    )
    RestoreClient(theirs)
    client = RestoreClient(theirs)
    with pytest.raises(InvalidRequestError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    with pytest.raises(InvalidRequestError) as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown
    theirs.close()


def test_tries_that_cannot_be_seen_are_in_doubt(stubbed: tuple[RestoreClient, Stubber]) -> None:
    """Where botocore counts more tries than its event showed, the rest may have done anything."""
    client, stubber = stubbed
    stubber.add_client_error("restore_backup", "InvalidRequest", response_meta={"RetryAttempts": 1})
    with pytest.raises(InvalidRequestError) as caught:
        client.restore_backup("backup-1")
    assert caught.value.outcome_unknown


@pytest.mark.parametrize(
    "answer",
    [DROP, http(b""), http(b"", "500 Oops"), error("CloudHsmInternalFailureException"), RawServer.SILENCE],
)
def test_calls_that_only_read_leave_no_doubt(
    raw_server: RawServer, make_client: MakeClient, answer: bytes | None
) -> None:
    """However DescribeBackups fails, it has restored nothing."""
    client = make_client(raw_server.answer(answer), read_timeout=0.2)
    with pytest.raises(RestoreError) as caught:
        client.get_backup(BACKUP_ID)
    assert caught.value.outcome_unknown is False
    assert caught.value.operation == "DescribeBackups"


# --- Answers ---

UNUSABLE: dict[str, bytes] = {
    "truncated JSON": http(json.dumps({"Backup": wire_backup()}).encode()[:60]),
    "empty body": http(b""),
    "HTML": http(b"<html>Please log in.</html>", content_type="text/html"),
    "empty object": http({}),
    "null backup": http({"Backup": None}),
    "empty backup": http({"Backup": {}}),
    "list instead of backup": http({"Backup": []}),
    "string instead of backup": http({"Backup": "READY"}),
    "array": http([1, 2]),
    "number": http(5),
    "null": http(b"null"),
    "another service": http({"TableNames": ["orders"]}),
    "null ID": http({"Backup": wire_backup(BackupId=None)}),
    "number as ID": http({"Backup": wire_backup(BackupId=5)}),
    "another backup": http({"Backup": wire_backup(BackupId="backup-7777777zzzz")}),
    "number as state": http({"Backup": wire_backup(BackupState=5)}),
    "garbage timestamp": http({"Backup": wire_backup(CreateTimestamp="garbage")}),
    "endless timestamp": http(
        json.dumps({"Backup": wire_backup(CreateTimestamp=0)}).encode().replace(b": 0,", b": 1e400,")
    ),
    "timestamp far ahead": http({"Backup": wire_backup(CreateTimestamp=1e13)}),
    "string as boolean": http({"Backup": wire_backup(NeverExpires="perhaps")}),
    "tags without values": http({"Backup": wire_backup(TagList=[{"Key": "a"}])}),
    "an error in a 200": http({"__type": "CloudHsmInvalidRequestException", "Message": "no"}),
    "no UTF-8": http(b'{"Backup": "\xff\xfe"}'),
    "204": http(b"", "204 No Content"),
    "deep": http(b"[" * 100_000),
    "error that is no error": http({"__type": 5}, "400 Bad Request"),
}  # fmt: skip


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_an_answer_without_a_usable_backup(
    raw_server: RawServer, make_client: MakeClient, answer: bytes
) -> None:
    """It is an UnexpectedResponseError in doubt, never a success, and never a bare exception."""
    client = make_client(raw_server.answer(answer))
    with pytest.raises(UnexpectedResponseError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    assert caught.value.backup_id == BACKUP_ID


def test_what_there_was_of_the_answer_is_kept(raw_server: RawServer, make_client: MakeClient) -> None:
    """``response`` holds as much of the answer as boto3 could read."""
    client = make_client(raw_server.answer(http({"Backup": wire_backup(BackupState=5)})))
    with pytest.raises(UnexpectedResponseError, match="BackupState: ") as caught:
        client.restore_backup(BACKUP_ID)
    response: Any = caught.value.response
    assert response["Backup"]["ClusterId"] == wire_backup()["ClusterId"]
    assert response["ResponseMetadata"]["RequestId"] == "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in.</html>",
        b'{"Backup": {"Ba',
        b'{"Backup": []}',
        b'{"Backup": {"CreateTimestamp": "x"}}',
    ],
)
def test_an_answer_that_boto3_cannot_read_is_kept(
    raw_server: RawServer, make_client: MakeClient, body: bytes
) -> None:
    """``body`` is what came, ``response`` says at least with which status, and the message quotes it."""
    client = make_client(raw_server.answer(http(body), http(body)))
    for call in (client.restore_backup, client.get_backup):
        with pytest.raises(UnexpectedResponseError) as caught:
            call(BACKUP_ID)
        assert caught.value.body == body.decode()
        assert repr(body.decode()) in str(caught.value)
        response: Any = caught.value.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert response["ResponseMetadata"]["RequestId"] == "11111111-2222-4333-8444-555555555555"
        assert response["ResponseMetadata"]["HTTPHeaders"]["content-length"] == str(len(body))


def test_of_a_long_body_the_beginning_is_kept(raw_server: RawServer, make_client: MakeClient) -> None:
    """A page of any length becomes a short message and a short attribute."""
    client = make_client(raw_server.answer(http(b"<p>" * 100_000)))
    with pytest.raises(UnexpectedResponseError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.body is not None
    assert len(caught.value.body) == 4096
    assert len(str(caught.value)) < 400


def test_a_body_shorter_than_promised_counts_if_its_json_is_whole(
    raw_server: RawServer, make_blocking_client: MakeClient
) -> None:
    """A whole JSON is an answer, although the connection ended before its Content-Length; half is none.

    Some versions of botocore take neither for an answer: a lost connection then, and in doubt as well.
    """
    body = json.dumps({"Backup": wire_backup()}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 50}\r\n\r\n".encode()
    client = make_blocking_client(raw_server.answer(Last(head + body), Last(head + body[:50])))
    try:
        assert client.restore_backup(BACKUP_ID).backup_id == BACKUP_ID
    except ConnectionLostError as lost:
        assert lost.outcome_unknown  # noqa: PT017  (either will do)
    with pytest.raises((UnexpectedResponseError, ConnectionLostError)) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_an_iso_timestamp_is_read(raw_server: RawServer, make_client: MakeClient) -> None:
    """Emulators send timestamps as text; they mean what they say."""
    client = make_client(
        raw_server.answer(http({"Backup": wire_backup(CreateTimestamp="2026-01-02T03:04:05Z")}))
    )
    backup = client.restore_backup(BACKUP_ID)
    assert backup.create_timestamp is not None
    assert backup.create_timestamp.isoformat() == "2026-01-02T03:04:05+00:00"


def test_an_unknown_state_is_an_answer(raw_server: RawServer, make_client: MakeClient) -> None:
    """A state that AWS adds later breaks nothing."""
    client = make_client(
        raw_server.answer(http({"Backup": wire_backup(BackupState="ARCHIVED", Mode="FIPS_2")}))
    )
    backup = client.restore_backup(BACKUP_ID)
    assert backup.backup_state == "ARCHIVED"
    assert backup.backup_state is not None
    assert not backup.backup_state.is_known
    assert backup.mode == "FIPS_2"


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(["", *wire_backup(), "TagList.0", "TagList.0.Key", "TagList.0.Value", "Backup"])


@pytest.fixture(scope="module")
def answering_client() -> Iterator[tuple[RestoreClient, list[bytes]]]:
    """A client whose HTTP is answered in process, by the list's only element: for thousands of answers."""
    client = boto3.client(
        "cloudhsmv2",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )
    body = [b""]

    class Raw:
        def stream(self) -> Iterator[bytes]:
            yield body[0]

    def answer(**_: object) -> Any:
        return AWSResponse("", 200, HTTPHeaders(), Raw())

    client.meta.events.register("before-send.cloudhsm-v2", answer)
    yield RestoreClient(client), body
    client.close()


@given(value=json_values, place=places)
def test_any_value_in_any_place(
    answering_client: tuple[RestoreClient, list[bytes]], value: object, place: str
) -> None:
    """Any JSON value in any place of a 200 gives a Backup or an UnexpectedResponseError, and nothing else."""
    answer: Any = {"Backup": copy.deepcopy(wire_backup(TagList=[{"Key": "a", "Value": "b"}]))}
    if not place:
        answer = value
    elif place == "Backup":
        answer["Backup"] = value
    else:
        *path, last = place.split(".")
        target = answer["Backup"]
        for step in path:
            target = target[int(step) if step.isdigit() else step]
        target[int(last) if last.isdigit() else last] = value
    client, body = answering_client
    body[0] = json.dumps(answer).encode()
    outcome: Backup | UnexpectedResponseError
    try:
        outcome = client.restore_backup(BACKUP_ID)
    except UnexpectedResponseError as error:
        outcome = error
    assert outcome.backup_id == BACKUP_ID
    assert isinstance(outcome, Backup) or outcome.outcome_unknown
    for call in (lambda: client.get_backup(BACKUP_ID), lambda: list(client.describe_backups())):
        with pytest.raises(UnexpectedResponseError):
            call()


@given(st.binary(max_size=200))
def test_any_bytes(answering_client: tuple[RestoreClient, list[bytes]], answer: bytes) -> None:
    """Any bytes as the body of a 200 are an UnexpectedResponseError, unless they are a backup."""
    client, body = answering_client
    body[0] = answer
    with pytest.raises(UnexpectedResponseError):
        client.restore_backup(BACKUP_ID)


@pytest.mark.parametrize(
    "body", [{"__type": ["a"]}, {"__type": {}}, {"__type": 5}, {"Message": []}, None, [1], 5]
)
@pytest.mark.parametrize("status", ["400 Bad Request", "500 Oops"])
def test_an_error_that_is_malformed(
    raw_server: RawServer, make_client: MakeClient, body: object, status: str
) -> None:
    """Whatever stands in an error answer, it is a RestoreError; with a 5xx it is in doubt."""
    client = make_client(raw_server.answer(http(body, status), http(body, status)))
    with pytest.raises(RestoreError) as caught:
        client.restore_backup(BACKUP_ID)
    assert isinstance(caught.value, ApiError | UnexpectedResponseError)
    assert caught.value.outcome_unknown or status.startswith("400")
    [result] = client.restore_backups([BACKUP_ID], timeout=0)
    assert result.error is not None


def test_a_broken_chunk_is_in_doubt(raw_server: RawServer, make_client: MakeClient) -> None:
    """A body that breaks while it is read comes after the work: nothing that was never sent."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = make_client(raw_server.answer(Last(head + b"-5\r\nabc\r\n"), Last(head + b"zz\r\n")))
    for _ in range(2):
        with pytest.raises(RestoreError) as caught:
            client.restore_backup(BACKUP_ID)
        assert not isinstance(caught.value, ConfigurationError)
        assert caught.value.outcome_unknown


# --- The transport ---


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_answer_lost_behind_a_proxy(raw_server: RawServer, attempts: int) -> None:
    """botocore says that it could not connect to the proxy; but the request was on its way, and in doubt."""
    proxies = {"http": raw_server.answer(*[DROP] * attempts)}
    options = {"proxies": proxies, "retries": {"total_max_attempts": attempts, "mode": "standard"}}
    client = make_sync_client("http://cloudhsm.invalid", options)
    with client, pytest.raises(ConnectionLostError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_what_the_caller_is_handling_has_no_say(raw_server: RawServer) -> None:
    """A call from within ``except`` is judged by itself, not by the failure that is being handled there."""
    url = raw_server.answer(DROP, DROP)
    with make_sync_client("http://127.0.0.1:1", {}) as refused, make_sync_client(url, {}) as lost:
        try:
            refused.restore_backup(BACKUP_ID)
        except ConnectError:
            with pytest.raises(ConnectionLostError) as direct:
                lost.restore_backup(BACKUP_ID)
            with (
                make_sync_client("http://cloudhsm.invalid", {"proxies": {"http": url}}) as behind,
                pytest.raises(ConnectionLostError) as proxied,
            ):
                behind.restore_backup(BACKUP_ID)
            assert direct.value.outcome_unknown
            assert proxied.value.outcome_unknown


def test_a_refusal_after_an_answer_lost_behind_a_proxy(raw_server: RawServer) -> None:
    """The lost try counts behind a proxy, too."""
    url = raw_server.answer(DROP, REFUSED)
    options = {"proxies": {"http": url}, "retries": {"total_max_attempts": 2, "mode": "standard"}}
    client = make_sync_client("http://cloudhsm.invalid", options)
    with client, pytest.raises(InvalidRequestError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_a_proxy_that_refuses(raw_server: RawServer) -> None:
    """A proxy that nobody runs, or that refuses the tunnel, has passed nothing on."""
    url = raw_server.answer(http(b"", "407 Proxy Authentication Required"))
    for proxy in (url, "http://127.0.0.1:1"):
        client = make_sync_client("https://cloudhsm.invalid", {"proxies": {"https": proxy}})
        with client, pytest.raises(ConnectError) as caught:
            client.restore_backup(BACKUP_ID)
        assert not caught.value.outcome_unknown


def test_no_answer_in_time(raw_server: RawServer, make_client: MakeClient) -> None:
    """A read timeout is a ResponseTimeoutError, a TimeoutError, and in doubt."""
    client = make_client(raw_server.answer(RawServer.SILENCE), read_timeout=0.2)
    with pytest.raises(TimeoutError) as caught:
        client.restore_backup(BACKUP_ID)
    assert isinstance(caught.value, ResponseTimeoutError)
    assert caught.value.outcome_unknown


def test_nobody_listens(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A refused connection is a ConnectError, a ConnectionError, and leaves no doubt."""
    service.refuse()
    with pytest.raises(ConnectionError) as caught:
        make_client(service.endpoint_url).restore_backup(BACKUP_ID)
    assert isinstance(caught.value, ConnectError)
    assert not caught.value.outcome_unknown


def test_a_name_that_does_not_resolve(make_client: MakeClient) -> None:
    """An endpoint whose name is unknown is a ConnectError."""
    with pytest.raises(ConnectError):
        make_client("http://nowhere.invalid").restore_backup(BACKUP_ID)


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_what_is_no_http(raw_server: RawServer, make_client: MakeClient, answer: bytes) -> None:
    """Bytes that are no HTTP are a lost connection, and in doubt."""
    with pytest.raises(TransportError) as caught:
        make_client(raw_server.answer(answer, DROP)).restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


# --- Every exception of botocore ---

_NOT_RAISED_BY_CALLS = {
    "BotoCoreError",
    "ClientError",
    "EventStreamError",
    "UndefinedModelAttributeError",  # with its subclass: a broken service model
    "MissingServiceIdError",
    "StubResponseError",
    "StubAssertionError",
    "UnStubbedResponseError",
}


def botocore_errors() -> list[Exception]:
    """One of each exception that botocore defines, with its message filled in."""
    errors: list[Exception] = []
    for name, cls in vars(boto).items():
        if not inspect.isclass(cls) or not issubclass(cls, boto.BotoCoreError):
            continue
        if name in _NOT_RAISED_BY_CALLS:
            continue
        fields = [field for _, field, _, _ in string.Formatter().parse(cls.fmt) if field]
        if name == "WaiterError":
            fields.append("last_response")
        errors.append(cls(**dict.fromkeys(fields, "something")))
    return errors


@pytest.mark.parametrize("theirs", botocore_errors(), ids=lambda error: type(error).__name__)
def test_every_exception_of_botocore_enters_the_family(
    theirs: Exception, boto3_client: CloudHSMV2Client
) -> None:
    """Whatever botocore raises within a call leaves as a RestoreError that has it as its cause."""
    with raising(boto3_client, theirs), pytest.raises(RestoreError) as caught:
        RestoreClient(boto3_client).restore_backup("backup-1")
    assert caught.value.__cause__ is theirs
    assert type(caught.value) is not RestoreError


def test_credentials_that_cannot_be_had(service: LocalCloudHsm) -> None:
    """Without credentials nothing is sent: a ConfigurationError, raised by the call."""
    client = RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url, config=config())
    with client, pytest.raises(ConfigurationError) as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown
    assert service.requests == ()


def test_another_services_error_is_about_credentials(raw_server: RawServer, credentials: None) -> None:
    """An AssumeRole that is refused within our call is a ConfigurationError; nothing reached CloudHSM."""
    from botocore.credentials import RefreshableCredentials
    from botocore.session import get_session

    def refresh() -> dict[str, str]:
        raise boto.ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "not authorized to perform sts:AssumeRole"}},
            "AssumeRole",
        )

    session = get_session()
    session._credentials = RefreshableCredentials(  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        "a", "b", "c", expiry_time=datetime(2020, 1, 1, tzinfo=UTC),
        refresh_using=refresh, method="test",
    )  # fmt: skip
    client = RestoreClient(session=boto3.Session(botocore_session=session), endpoint_url=raw_server.url)
    with pytest.raises(ConfigurationError, match="AssumeRole failed with AccessDenied") as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown
    assert raw_server.requests == []
    client.close()


@pytest.mark.parametrize("printed", ["[]", "null", "5", "{}"])
def test_credential_processes_that_print_nonsense(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: LocalCloudHsm, printed: str
) -> None:
    """A credential_process whose output botocore trips over is a ConfigurationError."""
    (tmp_path / "config").write_text(f"[default]\ncredential_process = echo {printed}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ConfigurationError):
        RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url).restore_backup(BACKUP_ID)
    assert service.requests == ()


STS_ANSWERS: dict[str, tuple[bytes | None, bool]] = {
    "lost": (DROP, True),
    "silent": (RawServer.SILENCE, True),
    "HTML": (http(b"<html>", content_type="text/html"), False),
    "refused": (
        http(b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", "403 No"),
        False,
    ),
    "down": (http(b"", "503 Busy"), True),
}


@pytest.mark.parametrize(("answer", "retryable"), STS_ANSWERS.values(), ids=STS_ANSWERS)
def test_what_sts_does_is_no_doubt_about_the_restore(
    raw_server: RawServer,
    service: LocalCloudHsm,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: bytes | None,
    retryable: bool,
) -> None:
    """Where the search for credentials fails, nothing was sent to CloudHSM, and the restore ends at once."""
    role = "role_arn = arn:aws:iam::111122223333:role/restorer\nsource_profile = base\n"
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = for-tests-only\n"
    (tmp_path / "config").write_text(f"[default]\n{role}[profile base]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", raw_server.answer(answer))
    session = boto3.Session(region_name="us-east-1")
    inner: Any = vars(session)["_session"]
    inner.set_default_client_config(config(read_timeout=0.2))
    with (
        RestoreClient(session=session, endpoint_url=service.endpoint_url) as client,
        pytest.raises(ConfigurationError) as caught,
    ):
        client.ensure_restored(BACKUP_ID)
    assert not caught.value.outcome_unknown
    assert caught.value.retryable is retryable
    assert service.requests == ()
    assert len(raw_server.requests) == 1


def test_a_role_that_cannot_be_one_is_no_parameter_of_the_call(
    service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What botocore's validation says of a profile is about the configuration."""
    role = "role_arn = short\nsource_profile = base\n"
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = for-tests-only\n"
    (tmp_path / "config").write_text(f"[default]\n{role}[profile base]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    client = RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url)
    with client, pytest.raises(ConfigurationError):
        client.restore_backup(BACKUP_ID)


# --- Fakes, as tests of applications have them ---


def raised(error: Exception) -> Exception:
    """The exception with a traceback of this module, as where a test raises it."""
    try:
        raise error
    except Exception as caught:
        return caught


def refusal(code: str, operation: str = "RestoreBackup", **metadata: Any) -> Exception:
    """A ClientError as tests make them, with no more than they need."""
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": metadata}
    return boto.ClientError(answer, operation)


URL = "https://cloudhsmv2.us-east-1.amazonaws.com/"
FAKED: dict[str, tuple[Callable[[], Exception], type[RestoreError], bool]] = {
    "no address": (
        lambda: boto.EndpointConnectionError(endpoint_url=URL, error=raised(OSError())), ConnectError, False
    ),
    "connect timeout": (
        lambda: boto.ConnectTimeoutError(endpoint_url=URL, error=raised(TimeoutError())), ConnectError, False
    ),
    "address of another service": (
        lambda: boto.EndpointConnectionError(endpoint_url="https://sts.invalid/", error=raised(OSError())),
        ConnectionLostError, True,
    ),
    "TLS": (lambda: boto.SSLError(endpoint_url=URL, error=raised(OSError())), ConnectionLostError, True),
    "certificate": (
        lambda: boto.SSLError(endpoint_url=URL, error=raised(ssl.SSLCertVerificationError())),
        ConnectError, False,
    ),
    "proxy": (
        lambda: boto.ProxyConnectionError(proxy_url="http://proxy:1", error=raised(OSError())),
        ConnectionLostError, True,
    ),
    "not of the network": (lambda: boto.HTTPClientError(error=raised(RuntimeError())), RestoreError, True),
    "closed": (
        lambda: boto.ConnectionClosedError(endpoint_url=URL, error=raised(OSError())),
        ConnectionLostError, True,
    ),
    "read timeout": (
        lambda: boto.ReadTimeoutError(endpoint_url=URL, error=raised(TimeoutError())),
        ResponseTimeoutError, True,
    ),
    "unknown": (lambda: boto.HTTPClientError(error=raised(OSError())), TransportError, True),
    "parser": (lambda: ResponseParserError("no JSON"), UnexpectedResponseError, True),
    "a method's name": (lambda: refusal("InternalFailure", "restore_backup"), InternalFailureError, True),
    "a command's name": (lambda: refusal("InvalidRequest", "restore-backup"), InvalidRequestError, True),
    "a status that is text": (lambda: refusal("Throttling", HTTPStatusCode="400"), ThrottlingError, True),
    "a status for a code": (lambda: refusal("503"), InternalFailureError, True),
}  # fmt: skip


@pytest.mark.parametrize(("theirs", "cls", "unknown"), FAKED.values(), ids=FAKED)
@pytest.mark.parametrize("way", ["autospec", "before-send", "fake"])
def test_an_error_of_a_test_double_has_the_class_of_the_real_one(
    boto3_client: CloudHSMV2Client,
    way: str,
    theirs: Callable[[], Exception],
    cls: type[RestoreError],
    unknown: bool,
) -> None:
    """A mock, an event handler, or a class of three lines in place of boto3 lead to the same exception.

    The outcome is known only with boto3's events: what a mock or another class did is not observed.
    """
    ours: RestoreClient
    with ExitStack() as stack:
        if way == "before-send":
            # The handler of an error about another URL is not this call's transport.
            handler = Mock(side_effect=theirs())
            boto3_client.meta.events.register("before-send.cloudhsm-v2", handler)
            stack.callback(boto3_client.meta.events.unregister, "before-send.cloudhsm-v2", handler)
            ours = RestoreClient(boto3_client)
        elif way == "fake":
            fake: Any = type("Fake", (), {"restore_backup": Mock(side_effect=theirs())})()
            ours = RestoreClient(fake)
        else:
            spied = create_autospec(boto3_client, instance=True)
            spied.restore_backup.side_effect = theirs()
            ours = RestoreClient(spied)
        with pytest.raises(RestoreError) as caught:
            ours.restore_backup(BACKUP_ID)
        if "sts.invalid" not in str(caught.value) or way == "before-send":
            assert type(caught.value) is cls  # Only the event shows for which URL the attempt was.
        assert caught.value.outcome_unknown is (unknown or way != "before-send")


# --- What is no failure of a restore ---


@pytest.mark.parametrize("event", ["before-sign", "before-send", "after-call", "request-created"])
def test_the_users_own_handlers(service: LocalCloudHsm, event: str) -> None:
    """What a user's event handler raises passes untouched, another service's ClientError too."""
    bugs: list[Exception] = [KeyError("x"), ValueError("y")]
    if event in ("before-sign", "after-call", "request-created"):
        bugs.append(boto.ClientError({"Error": {"Code": "AccessDenied"}}, "PutItem"))
    for bug in bugs:
        theirs = service.boto3_client(config())

        def fail(bug: Exception = bug, **_: object) -> None:
            raise bug

        theirs.meta.events.register(f"{event}.cloudhsm-v2.RestoreBackup", fail)
        with pytest.raises(type(bug)) as caught:
            RestoreClient(theirs).restore_backup(BACKUP_ID)
        assert caught.value is bug
        theirs.close()


@pytest.mark.parametrize(
    "bug", [KeyboardInterrupt(), SystemExit(3), ZeroDivisionError(), KeyError("x"), ValueError("y")]
)
def test_bugs_and_interrupts_pass_untouched(boto3_client: CloudHSMV2Client, bug: BaseException) -> None:
    """What a user's own event handler raises, or the user's Ctrl-C, is no failure of a restore."""
    with raising(boto3_client, bug), pytest.raises(type(bug)) as caught:
        RestoreClient(boto3_client).restore_backup("backup-1")
    assert caught.value is bug


def test_an_interrupted_restore_is_logged_as_unknown(
    boto3_client: CloudHSMV2Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C during RestoreBackup leaves a line in the log that says that its outcome is unknown."""
    with raising(boto3_client, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        RestoreClient(boto3_client).restore_backup("backup-1")
    [record] = caplog.records
    assert "backup-1" in record.getMessage()
    assert "unknown" in record.getMessage()


def test_a_misused_stubber_reaches_the_test(stubbed: tuple[RestoreClient, Stubber]) -> None:
    """A call that the test did not stub, or with other parameters, raises the Stubber's own error."""
    client, stubber = stubbed
    with pytest.raises(boto.UnStubbedResponseError):
        client.restore_backup("backup-1")
    stubber.add_response("restore_backup", {"Backup": {"BackupId": "backup-1"}}, {"BackupId": "backup-1"})
    with pytest.raises(boto.StubAssertionError):
        client.restore_backup("backup-2")


# --- Arguments ---


@pytest.mark.parametrize(
    ("backup_id", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (" backup-1", "use 'backup-1'"),
        ("backup-1\n", "use 'backup-1'"),
        ("arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-1", "use 'backup-1'"),
        ("arn:aws:cloudhsm:us-east-1:111122223333", "not its ARN[.]"),
        (None, "not NoneType"),
        (5, "not int"),
        (b"backup-1", "not bytes"),
        (["backup-1"], "not list"),
        (Backup(backup_id="backup-1"), "not Backup; use its backup_id"),
    ],
)
def test_ids_that_cannot_be_one(
    make_client: MakeClient, raw_server: RawServer, backup_id: Any, said: str
) -> None:
    """An ID that cannot be one is a ParameterError, a ValueError, that says what was expected."""
    client = make_client(raw_server.url)
    for call in (client.restore_backup, client.get_backup, client.ensure_restored):
        with pytest.raises(ParameterError, match=said) as caught:
            call(backup_id)
        assert isinstance(caught.value, ValueError)
        assert not caught.value.outcome_unknown
    assert raw_server.requests == []


@pytest.mark.parametrize("backup_id", ["x", "backup-ÄÖ", "backup 1", "\ud800", "-" * 3000])
def test_the_service_decides_what_a_good_id_is(
    service: LocalCloudHsm, make_client: MakeClient, backup_id: str
) -> None:
    """Any other string goes to the service."""
    with pytest.raises(ResourceNotFoundError):
        make_client(service.endpoint_url).restore_backup(backup_id)
    assert len(service.requests) == 1
