"""Each response and each exception of boto3 becomes a Backup or a RestoreError with the right outcome."""

import copy
import gc
import inspect
import json
import logging
import socket
import ssl
import string
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import boto3
import botocore.exceptions as boto
import pytest
from botocore.awsrequest import AWSResponse
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
from cloudhsm_restore._call import cancellation
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import config, make_sync_client
from .conftest import MakeClient
from .raw_server import (
    BACKUP_ID,
    DROP,
    REJECTED,
    RESTORED,
    LastResponse,
    RawServer,
    error_response,
    http,
    in_process,
    wire_backup,
)

# --- Codes ---

CODES: dict[str, type[ApiError]] = {
    "CloudHsmAccessDeniedException": AccessDeniedError,
    "AccessDeniedException": AccessDeniedError,
    "AccessDenied": AccessDeniedError,
    "NotAuthorized": AccessDeniedError,
    "OptInRequired": AccessDeniedError,
    "UnauthorizedOperation": AccessDeniedError,
    "CloudHsmInternalFailureException": InternalFailureError,
    "InternalFailure": InternalFailureError,
    "InternalFailureException": InternalFailureError,
    "InternalServerError": InternalFailureError,
    "InternalServerErrorException": InternalFailureError,
    "InternalServiceError": InternalFailureError,
    "InternalError": InternalFailureError,
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
    "RequestTimeTooSkewed": AuthenticationError,
    "InvalidAccessKeyId": AuthenticationError,
    "InvalidToken": AuthenticationError,
    "SignatureDoesNotMatch": AuthenticationError,
    "IncompleteSignature": AuthenticationError,
    "MissingAuthenticationToken": AuthenticationError,
    "AuthFailure": AuthenticationError,
    "Throttling": ThrottlingError,
    "ThrottlingException": ThrottlingError,
    "TooManyRequestsException": ThrottlingError,
    "RequestLimitExceeded": ThrottlingError,
    "SlowDown": ThrottlingError,
    "ThrottledException": ThrottlingError,
    "RequestThrottled": ThrottlingError,
    "RequestThrottledException": ThrottlingError,
    "BandwidthLimitExceeded": ThrottlingError,
    "ProvisionedThroughputExceededException": ThrottlingError,
    "EC2ThrottledException": ThrottlingError,
    "PriorRequestNotComplete": ThrottlingError,
    "ANewException": ApiError,
    "Exception": ApiError,
    "": ApiError,
}


@pytest.fixture(scope="module")
def boto3_client() -> Iterator[CloudHSMV2Client]:
    """Create one plain boto3 client for all tests: creating it is slow."""
    client: CloudHSMV2Client = boto3.client(
        "cloudhsmv2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    yield client
    client.close()


@pytest.fixture
def stubbed(boto3_client: CloudHSMV2Client) -> Iterator[tuple[RestoreClient, Stubber]]:
    """Return a RestoreClient and the Stubber of the boto3 client that it wraps."""
    with Stubber(boto3_client) as stubber:
        yield RestoreClient(boto3_client), stubber


@contextmanager
def raising(client: CloudHSMV2Client, error: BaseException) -> Generator[None]:
    """Let an event handler within the next call raise ``error``."""

    def fail(**_: object) -> None:
        raise error

    client.meta.events.register("provide-client-params.cloudhsm-v2", fail)
    yield
    client.meta.events.unregister("provide-client-params.cloudhsm-v2", fail)


@pytest.mark.parametrize(("code", "cls"), CODES.items())
def test_every_error_code_has_its_class(
    stubbed: tuple[RestoreClient, Stubber], code: str, cls: type[ApiError]
) -> None:
    """A code has its class, with or without AWS's prefix, and the modeled exception is the cause."""
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
        ("401", AuthenticationError),
        ("403", AccessDeniedError),
        ("429", ThrottlingError),
        ("500", InternalFailureError),
        ("502", InternalFailureError),
        ("503", InternalFailureError),
        ("504", InternalFailureError),
    ],
)
def test_a_status_in_place_of_an_error_code(
    stubbed: tuple[RestoreClient, Stubber], status: str, cls: type[ApiError]
) -> None:
    """botocore puts the HTTP status there if a response has no code. It has its class, also in a stub."""
    client, stubber = stubbed
    stubber.add_client_error("restore_backup", status)
    with pytest.raises(ApiError) as caught:
        client.restore_backup("backup-1")
    assert type(caught.value) is cls
    assert caught.value.outcome_unknown


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
def test_a_status_without_an_error_code_is_ambiguous(
    raw_server: RawServer, make_client: MakeClient, status: int, cls: type[ApiError]
) -> None:
    """A status without an AWS error code is ambiguous: a proxy on the way may have sent it."""
    client = make_client(raw_server.respond(http(b"", f"{status} Whatever")))
    with pytest.raises(ApiError) as caught:
        client.restore_backup(BACKUP_ID)
    assert type(caught.value) is cls
    assert caught.value.http_status_code == status
    assert caught.value.outcome_unknown


def test_every_5xx_is_ambiguous(stubbed: tuple[RestoreClient, Stubber]) -> None:
    """A 5xx is ambiguous even if its code belongs to another class than InternalFailureError."""
    client, stubber = stubbed
    stubber.add_client_error("restore_backup", "CloudHsmServiceException", http_status_code=500)
    with pytest.raises(ServiceError) as caught:
        client.restore_backup("backup-1")
    assert caught.value.outcome_unknown


# --- The outcome over all attempts of a call, on the wire ---

Row = tuple[list[bytes | None], type[RestoreError], bool]
ATTEMPTS: dict[str, Row] = {
    "lost, rejected": ([DROP, REJECTED], InvalidRequestError, True),
    "lost, throttled": ([DROP, error_response("ThrottlingException")], ThrottlingError, True),
    "lost, denied": ([DROP, error_response("AccessDeniedException")], AccessDeniedError, True),
    "lost, not found": (
        [DROP, error_response("CloudHsmResourceNotFoundException")],
        ResourceNotFoundError,
        True,
    ),
    "lost, lost": ([DROP, DROP], ConnectionLostError, True),
    "500, rejected": ([http(b"", "500 Oops"), REJECTED], InvalidRequestError, True),
    "502, rejected": ([http(b"<html>", "502 Bad", "text/html"), REJECTED], InvalidRequestError, True),
    "internal failure, rejected": (
        [error_response("CloudHsmInternalFailureException", status="500 Oops"), REJECTED],
        InvalidRequestError,
        True,
    ),
    "throttled, rejected": ([error_response("ThrottlingException"), REJECTED], InvalidRequestError, False),
    "throttled, throttled": ([error_response("ThrottlingException")] * 2, ThrottlingError, False),
    "throttled, lost": ([error_response("ThrottlingException"), DROP], ConnectionLostError, True),
    "rejected": ([REJECTED], InvalidRequestError, False),
}


@pytest.mark.parametrize(("responses", "cls", "unknown"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_lost_attempt_makes_the_outcome_unknown(
    raw_server: RawServer,
    make_client: MakeClient,
    responses: list[bytes | None],
    cls: type[RestoreError],
    unknown: bool,
) -> None:
    """One lost attempt makes the outcome of the call unknown, whatever the last attempt returned."""
    client = make_client(
        raw_server.respond(*responses), retries={"total_max_attempts": 2, "mode": "standard"}
    )
    with pytest.raises(RestoreError) as caught:
        client.restore_backup(BACKUP_ID)
    assert type(caught.value) is cls
    assert caught.value.outcome_unknown is unknown
    assert len(raw_server.requests) == len(responses)
    if isinstance(caught.value, ApiError):
        assert caught.value.attempts == len(responses)


def test_a_refused_connection_does_not_resolve_a_lost_attempt(
    raw_server: RawServer, make_client: MakeClient
) -> None:
    """The outcome is unknown if a response was lost, although the last attempt sent nothing."""
    url = raw_server.respond(DROP, then_stop=True)
    client = make_client(url, retries={"total_max_attempts": 2})
    with pytest.raises(ConnectError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    with pytest.raises(ConnectError) as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown


def test_a_retry_that_succeeds_is_a_success(raw_server: RawServer, make_client: MakeClient) -> None:
    """If boto3's second attempt returns the backup, the call returns it."""
    client = make_client(raw_server.respond(DROP, RESTORED), retries={"total_max_attempts": 2})
    assert client.restore_backup(BACKUP_ID).backup_state is BackupState.READY


def test_the_attempts_of_a_given_client_are_observed(raw_server: RawServer, credentials: None) -> None:
    """The attempts of a given boto3 client are observed, however many RestoreClients share it."""
    boto3_client = boto3.client(
        "cloudhsmv2",
        endpoint_url=raw_server.respond(DROP, REJECTED, REJECTED),
        config=config(retries={"total_max_attempts": 2}),
    )
    RestoreClient(boto3_client)
    client = RestoreClient(boto3_client)
    with pytest.raises(InvalidRequestError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    with pytest.raises(InvalidRequestError) as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown
    boto3_client.close()


RAISED: dict[str, Callable[[str], Exception]] = {
    "no credentials": lambda url: boto.NoCredentialsError(),
    "connect timeout": lambda url: boto.ConnectTimeoutError(endpoint_url=f"{url}/", error=OSError()),
    "invalid parameters": lambda url: boto.ParamValidationError(report="x"),
    "denied": lambda url: client_error("AccessDenied", HTTPStatusCode=403, RetryAttempts=0),
}
"""Errors that normally mean that nothing was sent, or that the request was rejected."""


@pytest.mark.parametrize("error", RAISED.values(), ids=RAISED)
@pytest.mark.parametrize("event", ["before-parse", "response-received"])
def test_a_handler_that_raises_after_the_request_was_sent(
    service: LocalCloudHsm, event: str, error: Callable[[str], Exception]
) -> None:
    """The outcome is unknown whatever a handler raises once the request was sent."""
    backup = service.add_backup(backup_state=BackupState.PENDING_DELETION)
    boto3_client = service.boto3_client(config())
    handler = Mock(side_effect=error(service.endpoint_url))
    boto3_client.meta.events.register_first(f"{event}.cloudhsm-v2.RestoreBackup", handler)
    with pytest.raises(RestoreError) as caught:
        RestoreClient(boto3_client).restore_backup(backup.backup_id)
    assert caught.value.outcome_unknown
    assert service.backups[backup.backup_id].backup_state is BackupState.READY
    boto3_client.close()


def calling_again(client: CloudHSMV2Client, before: Callable[[], object] = lambda: None) -> None:
    """Let a handler of the first response call the client again, after it has called ``before``."""
    handled: list[object] = []

    def call_again(**_: object) -> None:
        if not handled:
            handled.append(None)
            before()
            client.restore_backup(BackupId="backup-7777777zzzz")

    client.meta.events.register("before-parse.cloudhsm-v2.RestoreBackup", call_again)


@pytest.fixture
def restoring(raw_server: RawServer, credentials: None) -> Iterator[CloudHSMV2Client]:
    """Return a client whose first RestoreBackup succeeds, and whose second is rejected."""
    url = raw_server.respond(RESTORED, REJECTED)
    client: CloudHSMV2Client = boto3.client("cloudhsmv2", endpoint_url=url, config=config())
    yield client
    client.close()


def test_a_handler_that_calls_the_client_again(restoring: CloudHSMV2Client, raw_server: RawServer) -> None:
    """The rejection of a call within a handler says nothing about the request that was sent before it."""
    calling_again(restoring)
    with pytest.raises(InvalidRequestError) as caught:
        RestoreClient(restoring).restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    assert len(raw_server.requests) == 2


def cancelled_call(call: Callable[[str], object], cancelled: threading.Event) -> RestoreError:
    """Return what a call raises that ``cancelled`` cancels."""

    def run() -> RestoreError:
        cancellation.set(cancelled)
        with pytest.raises(RestoreError, match="cancelled") as caught:
            call(BACKUP_ID)
        return caught.value

    return copy_context().run(run)


def test_cancelled_before_it_was_sent(service: LocalCloudHsm) -> None:
    """A call that is cancelled before its first request sends nothing, and its outcome is known."""
    cancelled = threading.Event()
    cancelled.set()
    with service.client() as client:
        for call in (client.restore_backup, client.get_backup):
            error = cancelled_call(call, cancelled)
            assert "before it was sent" in str(error)
            assert not error.outcome_unknown
    assert service.requests == ()


def test_cancelled_while_botocore_holds_the_request_back(service: LocalCloudHsm) -> None:
    """A handler of ``before-send`` waits in the retry mode ``adaptive``. Nothing is sent after that."""
    cancelled = threading.Event()
    boto3_client: Any = service.boto3_client(config())

    def hold_back(**_: object) -> None:
        cancelled.set()

    boto3_client.meta.events.register("before-send.cloudhsm-v2", hold_back)
    # A handler may have sent it, so that the outcome is unknown.
    error = cancelled_call(RestoreClient(boto3_client).restore_backup, cancelled)
    assert "before it was sent" not in str(error)
    assert error.outcome_unknown
    assert service.requests == ()
    boto3_client.close()


@pytest.mark.parametrize(("operation", "unknown"), [("RestoreBackup", True), ("DescribeBackups", False)])
def test_cancelled_before_a_success_is_retried(service: LocalCloudHsm, operation: str, unknown: bool) -> None:
    """If a handler asks for a retry after a success, the outcome of the cancelled restore is unknown."""
    backup_id = service.add_backup(backup_id=BACKUP_ID, backup_state="PENDING_DELETION").backup_id
    cancelled = threading.Event()
    boto3_client: Any = service.boto3_client(config())

    def retry(**_: object) -> int:
        cancelled.set()
        return 0

    boto3_client.meta.events.register_first(f"needs-retry.cloudhsm-v2.{operation}", retry)
    client = RestoreClient(boto3_client)
    call = client.restore_backup if operation == "RestoreBackup" else client.get_backup
    assert cancelled_call(call, cancelled).outcome_unknown is unknown
    assert [request.backup_id for request in service.requests] == [backup_id]
    boto3_client.close()


@pytest.mark.parametrize(
    ("response", "cls", "unknown"),
    [(DROP, ConnectionLostError, True), (REJECTED, InvalidRequestError, False)],
    ids=["lost", "rejected"],
)
def test_cancelled_between_two_attempts(
    raw_server: RawServer, credentials: None, response: bytes | None, cls: type[RestoreError], unknown: bool
) -> None:
    """A call that is cancelled while botocore backs off ends with the error of its last attempt."""
    cancelled = threading.Event()
    boto3_client: Any = boto3.client("cloudhsmv2", endpoint_url=raw_server.respond(response), config=config())

    def retry(**_: object) -> int:
        cancelled.set()
        return 0

    def call() -> Backup:
        cancellation.set(cancelled)
        return RestoreClient(boto3_client).restore_backup(BACKUP_ID)

    boto3_client.meta.events.register_first("needs-retry.cloudhsm-v2", retry)
    with pytest.raises(cls) as caught:
        copy_context().run(call)
    assert caught.value.outcome_unknown is unknown
    if isinstance(caught.value, ApiError):
        assert "RestoreBackup" in str(caught.value.__cause__)
    assert len(raw_server.requests) == 1
    boto3_client.close()


def test_a_request_of_the_application_after_a_restore(service: LocalCloudHsm) -> None:
    """What an application sends with its own client after a call has no deadline."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    boto3_client = service.boto3_client(config())
    service.inject(Fault.DELAY, "RestoreBackup", seconds=0.1)
    RestoreClient(boto3_client).ensure_restored(backup_id, timeout=0.05)
    assert boto3_client.describe_backups()["Backups"]
    boto3_client.close()


def test_a_body_that_raises_while_it_is_read(service: LocalCloudHsm) -> None:
    """A bare exception below botocore comes after the request was sent, although no response was read."""

    class Body:
        def stream(self) -> Iterator[bytes]:
            raise KeyError("chunk")

    def respond(request: Any, **_: object) -> AWSResponse:
        headers: Any = {}
        return AWSResponse(request.url, 200, headers, Body())

    client: Any = service.boto3_client()
    client.meta.events.register("before-send.cloudhsm-v2", respond)
    with pytest.raises(UnexpectedResponseError) as caught:
        RestoreClient(client).restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    client.close()


def test_a_response_without_a_state_is_logged(
    service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """The record says that the state is missing."""
    caplog.set_level("INFO", "cloudhsm_restore")
    service.inject("no-state", "RestoreBackup")
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    with service.client() as client:
        client.restore_backup(backup_id)
    assert [vars(record)["cloudhsm_backup_state"] for record in caplog.records] == ["missing"]


def test_an_own_transport_error_without_details(service: LocalCloudHsm) -> None:
    """An error of an application's transport, raised after the request was sent, is an unknown outcome."""

    class TransportFailure(boto.HTTPClientError):
        def __init__(self) -> None:
            Exception.__init__(self, "failed")  # Without botocore's `kwargs`.

    client: Any = service.boto3_client()
    session = client._endpoint.http_session
    send = session.send

    def fail(request: Any) -> None:
        send(request)
        raise TransportFailure

    session.send = fail
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    with pytest.raises(TransportError) as caught:
        RestoreClient(client).restore_backup(backup_id)
    assert caught.value.outcome_unknown
    client.close()


def test_cancelled_in_a_handler_that_calls_the_client_again(
    restoring: CloudHSMV2Client, raw_server: RawServer
) -> None:
    """If only the call within the handler is not sent, the outcome of the request before it is unknown."""
    cancelled = threading.Event()
    calling_again(restoring, cancelled.set)
    assert cancelled_call(RestoreClient(restoring).restore_backup, cancelled).outcome_unknown
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("code", ["Access denied by proxy!", "-", "403 Forbidden", "4.03"])
def test_a_code_that_is_no_identifier_is_ambiguous(
    raw_server: RawServer, make_client: MakeClient, code: str
) -> None:
    """A text in place of a code comes from a proxy, so the response is not AWS's rejection."""
    client = make_client(raw_server.respond(error_response(code, status="403 Forbidden")))
    with pytest.raises(ApiError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_unobserved_attempts_are_ambiguous(stubbed: tuple[RestoreClient, Stubber]) -> None:
    """If boto3 reports more attempts than it emitted events for, the rest may have restored the backup."""
    client, stubber = stubbed
    stubber.add_client_error("restore_backup", "InvalidRequest", response_meta={"RetryAttempts": 1})
    with pytest.raises(InvalidRequestError) as caught:
        client.restore_backup("backup-1")
    assert caught.value.outcome_unknown


@pytest.mark.parametrize(
    "response",
    [
        DROP,
        http(b""),
        http(b"", "500 Oops"),
        error_response("CloudHsmInternalFailureException"),
        RawServer.SILENCE,
    ],
)
def test_a_failed_read_is_never_ambiguous(
    raw_server: RawServer, make_client: MakeClient, response: bytes | None
) -> None:
    """DescribeBackups restores nothing, however it fails."""
    client = make_client(raw_server.respond(response), read_timeout=0.2)
    with pytest.raises(RestoreError) as caught:
        client.get_backup(BACKUP_ID)
    assert caught.value.outcome_unknown is False
    assert caught.value.operation == "DescribeBackups"


# --- Responses ---

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
    "not UTF-8": http(b'{"Backup": "\xff\xfe"}'),
    "204": http(b"", "204 No Content"),
    "deep": http(b"[" * 100_000),
    "error with a code that is a number": http({"__type": 5}, "400 Bad Request"),
}  # fmt: skip


@pytest.mark.parametrize("response", UNUSABLE.values(), ids=UNUSABLE)
def test_a_response_without_a_valid_backup_is_ambiguous(
    raw_server: RawServer, make_client: MakeClient, response: bytes
) -> None:
    """It is an UnexpectedResponseError whose outcome is unknown, and never a success."""
    client = make_client(raw_server.respond(response))
    with pytest.raises(UnexpectedResponseError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    assert caught.value.backup_id == BACKUP_ID


@pytest.mark.parametrize("response", [{}, {"Backup": None}, {"Backup": {}}])
def test_a_response_without_a_backup_is_not_called_malformed(
    raw_server: RawServer, make_blocking_client: MakeClient, response: object
) -> None:
    """The message says that there is no backup, as in a response of another service."""
    with pytest.raises(UnexpectedResponseError, match=r"unexpected response: no Backup in it[.;]"):
        make_blocking_client(raw_server.respond(http(response))).restore_backup(BACKUP_ID)


def test_an_unexpected_response_is_kept(raw_server: RawServer, make_client: MakeClient) -> None:
    """``response`` holds what boto3 parsed of the response."""
    client = make_client(raw_server.respond(http({"Backup": wire_backup(BackupState=5)})))
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
def test_the_body_of_an_unparsable_response_is_kept(
    raw_server: RawServer, make_client: MakeClient, body: bytes
) -> None:
    """``body`` is the text of the body, ``response`` has its status, and the message quotes it."""
    client = make_client(raw_server.respond(http(body), http(body)))
    for call in (client.restore_backup, client.get_backup):
        with pytest.raises(UnexpectedResponseError) as caught:
            call(BACKUP_ID)
        assert caught.value.body == body.decode()
        assert repr(body.decode()) in str(caught.value)
        response: Any = caught.value.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert response["ResponseMetadata"]["RequestId"] == "11111111-2222-4333-8444-555555555555"
        assert response["ResponseMetadata"]["HTTPHeaders"]["content-length"] == str(len(body))


def test_a_long_body_is_truncated(raw_server: RawServer, make_client: MakeClient) -> None:
    """The body of a page of any length is a short attribute, and its message a short line."""
    client = make_client(raw_server.respond(http(b"<p>" * 100_000)))
    with pytest.raises(UnexpectedResponseError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.body is not None
    assert len(caught.value.body) == 4096
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("response", [REJECTED, http(b"{}"), http(b"no JSON"), DROP])
def test_an_error_is_freed_at_once(raw_server: RawServer, response: bytes | None) -> None:
    """No cycle keeps an error, and what its frames refer to, until the next garbage collection."""
    references: list[weakref.ref[RestoreError]] = []
    gc.disable()
    try:
        with make_sync_client(raw_server.respond(response), {}) as client:
            try:
                client.restore_backup(BACKUP_ID)
            except RestoreError as error:
                references.append(weakref.ref(error))
        assert [reference() for reference in references] == [None]
    finally:
        gc.enable()


def test_many_problems_are_only_counted(raw_server: RawServer, make_client: MakeClient) -> None:
    """The message about a response with thousands of problems is short, and has their number."""
    backup = wire_backup(TagList=[{}] * 5_000)
    client = make_client(raw_server.respond(http({"Backup": backup}), http({"Backups": [backup]})))
    for call in (client.restore_backup, client.get_backup):
        with pytest.raises(UnexpectedResponseError, match=r"malformed [(]10000 problems[)]") as caught:
            call(BACKUP_ID)
        assert len(str(caught.value)) < 400


class LateServer(RawServer):
    """Sends a 103 on its first connection, and the response to the first request after the second one."""

    def _serve_connection(self, connection: socket.socket) -> None:
        is_first = len(self._connections) == 1
        interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        self.responses.clear()
        self.responses.extend([interim, REJECTED] if is_first else [RESTORED])
        super()._serve_connection(connection)


def test_a_late_response_after_an_interim_response(make_client: MakeClient) -> None:
    """The response that follows a 103 is not taken for the response to the next request."""
    with LateServer() as server:
        client = make_client(server.url)
        with pytest.raises(UnexpectedResponseError) as caught:
            client.restore_backup(BACKUP_ID)
        assert caught.value.outcome_unknown
        assert client.restore_backup(BACKUP_ID).backup_state is BackupState.READY


def test_a_body_shorter_than_its_content_length(
    raw_server: RawServer, make_blocking_client: MakeClient
) -> None:
    """A complete JSON document is accepted, although the connection ended early; an incomplete one is not.

    Some versions of botocore reject both: then each is a lost connection, and ambiguous too.
    """
    body = json.dumps({"Backup": wire_backup()}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 50}\r\n\r\n".encode()
    client = make_blocking_client(
        raw_server.respond(LastResponse(head + body), LastResponse(head + body[:50]))
    )
    try:
        assert client.restore_backup(BACKUP_ID).backup_id == BACKUP_ID
    except ConnectionLostError as lost:
        assert lost.outcome_unknown  # noqa: PT017  (it depends on botocore's version)
    with pytest.raises((UnexpectedResponseError, ConnectionLostError)) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_a_long_text_is_no_request_id(
    raw_server: RawServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A text that a server returns in place of the ID of the request may be a token, and is not logged."""
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    client = make_client(raw_server.respond(RESTORED.replace(b"11111111-2222", b"token" * 20)))
    client.restore_backup(BACKUP_ID)
    assert "READY" in caplog.text
    assert "token" not in caplog.text


def test_an_iso_timestamp_is_parsed(raw_server: RawServer, make_client: MakeClient) -> None:
    """Emulators send timestamps as text in ISO 8601."""
    client = make_client(
        raw_server.respond(http({"Backup": wire_backup(CreateTimestamp="2026-01-02T03:04:05Z")}))
    )
    backup = client.restore_backup(BACKUP_ID)
    assert backup.create_timestamp is not None
    assert backup.create_timestamp.isoformat() == "2026-01-02T03:04:05+00:00"


def test_an_unknown_state_is_returned(raw_server: RawServer, make_client: MakeClient) -> None:
    """A state that AWS adds later is an unknown member of the enum, and not an error."""
    client = make_client(
        raw_server.respond(http({"Backup": wire_backup(BackupState="ARCHIVED", Mode="FIPS_2")}))
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
def client_with_canned_body() -> Iterator[tuple[RestoreClient, list[bytes]]]:
    """Return a client whose every response has the list's only element as its body, without a socket."""
    client = boto3.client(
        "cloudhsmv2",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )
    body = [b""]

    def respond(**_: object) -> Any:
        return in_process(body[0])

    client.meta.events.register("before-send.cloudhsm-v2", respond)
    yield RestoreClient(client), body
    client.close()


@given(value=json_values, place=places)
def test_any_json_in_any_field(
    client_with_canned_body: tuple[RestoreClient, list[bytes]], value: object, place: str
) -> None:
    """Any JSON in any field of a 200 gives a Backup or an UnexpectedResponseError, and nothing else."""
    response: Any = {"Backup": copy.deepcopy(wire_backup(TagList=[{"Key": "a", "Value": "b"}]))}
    if not place:
        response = value
    elif place == "Backup":
        response["Backup"] = value
    else:
        *path, last = place.split(".")
        target = response["Backup"]
        for step in path:
            target = target[int(step) if step.isdigit() else step]
        target[int(last) if last.isdigit() else last] = value
    client, body = client_with_canned_body
    body[0] = json.dumps(response).encode()
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
def test_any_bytes_as_a_body(
    client_with_canned_body: tuple[RestoreClient, list[bytes]], content: bytes
) -> None:
    """Random bytes as the body of a 200 are an UnexpectedResponseError."""
    client, body = client_with_canned_body
    body[0] = content
    with pytest.raises(UnexpectedResponseError):
        client.restore_backup(BACKUP_ID)


@pytest.mark.parametrize(
    "body", [{"__type": ["a"]}, {"__type": {}}, {"__type": 5}, {"Message": []}, None, [1], 5]
)
@pytest.mark.parametrize("status", ["400 Bad Request", "500 Oops"])
def test_a_malformed_error_response(
    raw_server: RawServer, make_client: MakeClient, body: object, status: str
) -> None:
    """A malformed error response is a RestoreError; with a 5xx it is ambiguous."""
    client = make_client(raw_server.respond(http(body, status), http(body, status)))
    with pytest.raises(RestoreError) as caught:
        client.restore_backup(BACKUP_ID)
    assert isinstance(caught.value, ApiError | UnexpectedResponseError)
    assert caught.value.outcome_unknown or status.startswith("400")
    [result] = client.restore_backups([BACKUP_ID], timeout=0)
    assert result.error is not None


def test_a_malformed_chunk_is_ambiguous(raw_server: RawServer, make_client: MakeClient) -> None:
    """A body that cannot be read belongs to a request that was sent, which may have restored the backup."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = make_client(
        raw_server.respond(LastResponse(head + b"-5\r\nabc\r\n"), LastResponse(head + b"zz\r\n"))
    )
    for _ in range(2):
        with pytest.raises(RestoreError) as caught:
            client.restore_backup(BACKUP_ID)
        assert not isinstance(caught.value, ConfigurationError)
        assert caught.value.outcome_unknown


# --- The transport ---


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_response_lost_behind_a_proxy_is_ambiguous(raw_server: RawServer, attempts: int) -> None:
    """boto3 reports that it could not connect to the proxy, although the request was sent."""
    proxies = {"http": raw_server.respond(*[DROP] * attempts)}
    options = {"proxies": proxies, "retries": {"total_max_attempts": attempts, "mode": "standard"}}
    client = make_sync_client("http://cloudhsm.invalid", options)
    with client, pytest.raises(ConnectionLostError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_the_exception_being_handled_is_ignored(raw_server: RawServer) -> None:
    """The exception that the caller is handling, which becomes a ``__context__``, changes no class."""
    url = raw_server.respond(DROP, DROP)
    with make_sync_client("http://127.0.0.1:1", {}) as unreachable, make_sync_client(url, {}) as lost:
        try:
            unreachable.restore_backup(BACKUP_ID)
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


def test_a_rejection_after_a_response_lost_behind_a_proxy(raw_server: RawServer) -> None:
    """An attempt that was lost behind a proxy makes the outcome unknown too."""
    url = raw_server.respond(DROP, REJECTED)
    options = {"proxies": {"http": url}, "retries": {"total_max_attempts": 2, "mode": "standard"}}
    client = make_sync_client("http://cloudhsm.invalid", options)
    with client, pytest.raises(InvalidRequestError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("proxy", ["http://[::1", "http://host:port", "http://127.0.0.1:99999"])
def test_an_invalid_url_of_a_proxy_sends_nothing(proxy: str) -> None:
    """A proxy's URL that cannot be parsed is a matter of the configuration, and nothing was sent."""
    client = make_sync_client("https://cloudhsm.invalid", {"proxies": {"https": proxy}})
    with pytest.raises(ConfigurationError) as raised:
        client.restore_backup(BACKUP_ID)
    assert not raised.value.outcome_unknown


def test_a_proxy_that_rejects_the_tunnel(raw_server: RawServer) -> None:
    """A proxy that does not listen, or that rejects CONNECT, has forwarded nothing."""
    url = raw_server.respond(http(b"", "407 Proxy Authentication Required"))
    for proxy in (url, "http://127.0.0.1:1"):
        client = make_sync_client("https://cloudhsm.invalid", {"proxies": {"https": proxy}})
        with client, pytest.raises(ConnectError) as caught:
            client.restore_backup(BACKUP_ID)
        assert not caught.value.outcome_unknown


def test_a_read_timeout_is_ambiguous(raw_server: RawServer, make_client: MakeClient) -> None:
    """A read timeout is a ResponseTimeoutError, which is a TimeoutError."""
    client = make_client(raw_server.respond(RawServer.SILENCE), read_timeout=0.2)
    with pytest.raises(TimeoutError) as caught:
        client.restore_backup(BACKUP_ID)
    assert isinstance(caught.value, ResponseTimeoutError)
    assert caught.value.outcome_unknown


def test_a_refused_connection_is_unambiguous(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A refused connection is a ConnectError, which is a ConnectionError: nothing was sent."""
    service.refuse()
    with pytest.raises(ConnectionError) as caught:
        make_client(service.endpoint_url).restore_backup(BACKUP_ID)
    assert isinstance(caught.value, ConnectError)
    assert not caught.value.outcome_unknown


def test_an_unresolvable_host_name(make_client: MakeClient) -> None:
    """An endpoint whose host name does not resolve is a ConnectError."""
    with pytest.raises(ConnectError):
        make_client("http://nowhere.invalid").restore_backup(BACKUP_ID)


@pytest.mark.parametrize("response", [b"garbage\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_a_malformed_http_response(raw_server: RawServer, make_client: MakeClient, response: bytes) -> None:
    """Bytes that are not HTTP are a TransportError, and ambiguous."""
    with pytest.raises(TransportError) as caught:
        make_client(raw_server.respond(response, DROP)).restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


# --- Every exception of botocore ---

_NOT_RAISED_BY_CALLS = {
    "BotoCoreError",
    "ClientError",
    "EventStreamError",
    "UndefinedModelAttributeError",  # It and its subclass report a malformed service model.
    "MissingServiceIdError",
    "StubResponseError",
    "StubAssertionError",
    "UnStubbedResponseError",
}


def botocore_errors() -> list[Exception]:
    """Return one of each exception that botocore defines, with its message filled in."""
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


@pytest.mark.parametrize("original", botocore_errors(), ids=lambda error: type(error).__name__)
def test_every_exception_of_botocore_becomes_a_restore_error(
    original: Exception, boto3_client: CloudHSMV2Client
) -> None:
    """An exception of botocore within a call becomes the cause of a RestoreError."""
    with raising(boto3_client, original), pytest.raises(RestoreError) as caught:
        RestoreClient(boto3_client).restore_backup("backup-1")
    assert caught.value.__cause__ is original
    assert type(caught.value) is not RestoreError


def test_missing_credentials(service: LocalCloudHsm) -> None:
    """Without credentials a call raises ConfigurationError, and nothing is sent."""
    client = RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url, config=config())
    with client, pytest.raises(ConfigurationError) as caught:
        client.restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown
    assert service.requests == ()


def test_a_rejected_assume_role_is_a_configuration_error(raw_server: RawServer, credentials: None) -> None:
    """An AssumeRole that STS rejects within a call is a ConfigurationError: nothing reached CloudHSM."""
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
def test_a_credential_process_with_malformed_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: LocalCloudHsm, printed: str
) -> None:
    """A credential_process whose output botocore cannot parse is a ConfigurationError."""
    (tmp_path / "config").write_text(f"[default]\ncredential_process = echo {printed}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(ConfigurationError):
        RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url).restore_backup(BACKUP_ID)
    assert service.requests == ()


STS_RESPONSES: dict[str, tuple[bytes | None, bool]] = {
    "lost": (DROP, True),
    "silent": (RawServer.SILENCE, True),
    "HTML": (http(b"<html>", content_type="text/html"), False),
    "rejected": (
        http(b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", "403 No"),
        False,
    ),
    "down": (http(b"", "503 Busy"), True),
}


@pytest.mark.parametrize(("response", "retryable"), STS_RESPONSES.values(), ids=STS_RESPONSES)
def test_sts_failures_do_not_set_outcome_unknown(
    raw_server: RawServer,
    service: LocalCloudHsm,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    response: bytes | None,
    retryable: bool,
) -> None:
    """If credentials cannot be resolved, nothing is sent to CloudHSM, and the error is raised immediately."""
    role = "role_arn = arn:aws:iam::111122223333:role/restorer\nsource_profile = base\n"
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = for-tests-only\n"
    (tmp_path / "config").write_text(f"[default]\n{role}[profile base]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", raw_server.respond(response))
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


def test_a_handler_whose_credentials_cannot_be_loaded(
    service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message does not say that the call had no credentials: only the handler's own session has none."""
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = for-tests-only\n"
    role = "role_arn = arn:aws:iam::111122223333:role/auditor\nsource_profile = base\n"
    (tmp_path / "config").write_text(f"[profile auditor]\n{role}[profile base]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    session = boto3.Session(profile_name="auditor", region_name="us-east-1")
    inner: Any = vars(session)["_session"]
    inner.set_default_client_config(config())
    auditor = session.client("s3")

    def audit(**_: object) -> None:
        auditor.list_buckets()

    boto3_client = service.boto3_client(config())
    boto3_client.meta.events.register("before-send.cloudhsm-v2", audit)
    with pytest.raises(ConnectionLostError) as caught:
        RestoreClient(boto3_client).restore_backup(BACKUP_ID)
    assert "127.0.0.1:9" in str(caught.value)
    assert "could not load credentials" not in str(caught.value)
    boto3_client.close()


def test_a_service_of_credentials_that_is_not_there(
    service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is worth a retry, as if the response of that service was lost."""
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = for-tests-only\n"
    role = "role_arn = arn:aws:iam::111122223333:role/restorer\nsource_profile = base\n"
    (tmp_path / "config").write_text(f"[default]\n{role}[profile base]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url)
    with client, pytest.raises(ConfigurationError, match="could not load credentials") as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.retryable


def test_incomplete_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that the credentials could not be loaded, and which part is missing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(ConfigurationError, match=r"could not load credentials .*AWS_SECRET_ACCESS_KEY"):
        RestoreClient(region_name="us-east-1")


def test_an_invalid_role_arn_is_a_configuration_error(
    service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A parameter of AssumeRole that botocore finds invalid comes from the profile, not from the call."""
    role = "role_arn = short\nsource_profile = base\n"
    keys = "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = for-tests-only\n"
    (tmp_path / "config").write_text(f"[default]\n{role}[profile base]\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    client = RestoreClient(region_name="us-east-1", endpoint_url=service.endpoint_url)
    with client, pytest.raises(ConfigurationError):
        client.restore_backup(BACKUP_ID)


# --- Test doubles, as the tests of applications have them ---


def raised(error: Exception) -> Exception:
    """Return the exception with a traceback of this module, as if a test had raised it."""
    try:
        raise error
    except Exception as caught:
        return caught


def client_error(code: str, operation: str = "RestoreBackup", **metadata: Any) -> Exception:
    """Return a ClientError as tests create them, with the fields that they need."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": metadata}
    return boto.ClientError(response, operation)


def wrapped() -> Exception:
    """Return an error of an application's transport that comes from the network's."""
    outer = RuntimeError("no response")
    outer.__cause__ = OSError()
    return outer


def circular() -> Exception:
    """Return an error that comes from another, which comes from the first."""
    inner = OSError()
    inner.__cause__ = boto.HTTPClientError(error=inner)
    return inner.__cause__


URL = "https://cloudhsmv2.us-east-1.amazonaws.com/"
DOUBLES: dict[str, tuple[Callable[[], Exception], type[RestoreError], bool]] = {
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
    "not a network error": (lambda: boto.HTTPClientError(error=raised(RuntimeError())), RestoreError, True),
    "wrapped": (lambda: boto.HTTPClientError(error=wrapped()), TransportError, True),
    "in the body": (lambda: boto.ResponseStreamingError(error=raised(OSError())), ConnectionLostError, True),
    "incomplete": (
        lambda: boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), ConnectionLostError, True
    ),
    "checksum": (
        lambda: boto.ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"),
        UnexpectedResponseError, True,
    ),
    "HTTP": (lambda: boto.HTTPClientError(error=raised(HTTPException())), TransportError, True),
    "closed": (
        lambda: boto.ConnectionClosedError(endpoint_url=URL, error=raised(OSError())),
        ConnectionLostError, True,
    ),
    "read timeout": (
        lambda: boto.ReadTimeoutError(endpoint_url=URL, error=raised(TimeoutError())),
        ResponseTimeoutError, True,
    ),
    "unknown": (lambda: boto.HTTPClientError(error=raised(OSError())), TransportError, True),
    "circular": (circular, TransportError, True),
    "parser": (lambda: ResponseParserError("no JSON"), UnexpectedResponseError, True),
    "a method's name": (
        lambda: client_error("InternalFailure", "restore_backup"), InternalFailureError, True
    ),
    "a command's name": (lambda: client_error("InvalidRequest", "restore-backup"), InvalidRequestError, True),
    "a status that is text": (
        lambda: client_error("Throttling", HTTPStatusCode="400"), ThrottlingError, True
    ),
    "a status for a code": (lambda: client_error("503"), InternalFailureError, True),
    "a status of the service": (lambda: client_error("500"), InternalFailureError, True),
    "a status of a proxy": (lambda: client_error("502"), InternalFailureError, True),
    "a status of a proxy in time": (lambda: client_error("504"), InternalFailureError, True),
}  # fmt: skip


@pytest.mark.parametrize(("original", "cls", "unknown"), DOUBLES.values(), ids=DOUBLES)
@pytest.mark.parametrize("double", ["autospec", "before-send", "fake"])
def test_an_error_of_a_test_double_has_the_class_of_the_real_one(
    boto3_client: CloudHSMV2Client,
    double: str,
    original: Callable[[], Exception],
    cls: type[RestoreError],
    unknown: bool,
) -> None:
    """A mock, an event handler, and a class of three lines lead to the exception that boto3 would lead to.

    The outcome is known only with boto3's events: attempts of a mock or of another class are not observed.
    """
    client: RestoreClient
    with ExitStack() as stack:
        if double == "before-send":
            # The handler of an error about another URL is not this call's transport.
            handler = Mock(side_effect=original())
            boto3_client.meta.events.register("before-send.cloudhsm-v2", handler)
            stack.callback(boto3_client.meta.events.unregister, "before-send.cloudhsm-v2", handler)
            client = RestoreClient(boto3_client)
        elif double == "fake":
            fake: Any = type("Fake", (), {"restore_backup": Mock(side_effect=original())})()
            client = RestoreClient(fake)
        else:
            spied = create_autospec(boto3_client, instance=True)
            spied.restore_backup.side_effect = original()
            client = RestoreClient(spied)
        with pytest.raises(RestoreError) as caught:
            client.restore_backup(BACKUP_ID)
        if "sts.invalid" not in str(caught.value) or double == "before-send":
            assert type(caught.value) is cls  # Without the event the URL of the attempt is unknown.
        assert caught.value.outcome_unknown is (unknown or double != "before-send")


def untrusted() -> ssl.SSLCertVerificationError:
    """Return the error of an expired certificate."""
    error: Any = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1)")
    error.verify_message = "certificate has expired"
    expired: ssl.SSLCertVerificationError = error
    return expired


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (OSError(111, "Connection refused"), "Connection refused"),
        (OSError("no route"), "no route"),
        (RuntimeError("no network in tests"), "no network in tests"),
        (untrusted(), "certificate has expired"),
    ],
)
def test_the_message_has_the_reason_why_there_is_no_connection(inner: Exception, reason: str) -> None:
    """botocore's own message names only the URL."""
    error = boto.EndpointConnectionError(endpoint_url=URL, error=inner)
    fake: Any = type("Fake", (), {"restore_backup": Mock(side_effect=error)})()
    with pytest.raises(ConnectError, match=rf"{URL}\" \({reason}\)"):
        RestoreClient(fake).restore_backup(BACKUP_ID)


def test_an_error_that_cannot_be_read() -> None:
    """An exception whose text raises becomes a RestoreError, and a restore's outcome is unknown."""

    class Unreadable(boto.HTTPClientError):
        def __str__(self) -> str:
            raise ZeroDivisionError

    fail = Mock(side_effect=Unreadable(error=OSError()))
    fake: Any = type("Fake", (), {"restore_backup": fail, "describe_backups": fail})()
    with pytest.raises(RestoreError, match="Unreadable, whose details could not be read") as caught:
        RestoreClient(fake).restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown
    with pytest.raises(RestoreError) as caught:
        RestoreClient(fake).get_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown


def test_an_error_between_two_attempts_is_ambiguous(
    restoring: CloudHSMV2Client, raw_server: RawServer
) -> None:
    """A handler raises the error of a connection after a rejection: of which request, is not known."""
    handler = Mock(side_effect=boto.ReadTimeoutError(endpoint_url=raw_server.url))
    restoring.restore_backup(BackupId=BACKUP_ID)  # The next one is rejected.
    restoring.meta.events.register_first("needs-retry.cloudhsm-v2", handler)
    with pytest.raises(ResponseTimeoutError) as caught:
        RestoreClient(restoring).restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


def test_a_mock_that_names_another_operation() -> None:
    """Its error has the class of its code: it does not come from the service that gives credentials."""
    fake: Any = type("Fake", (), {})()
    fake.restore_backup = Mock(side_effect=client_error("InvalidRequest", "operation"))
    with pytest.raises(InvalidRequestError):
        RestoreClient(fake).restore_backup(BACKUP_ID)


# --- Exceptions that propagate unchanged ---


@pytest.mark.parametrize("event", ["before-sign", "before-send", "after-call", "request-created"])
def test_an_exception_of_an_event_handler_propagates(service: LocalCloudHsm, event: str) -> None:
    """An exception of a user's event handler propagates, even a ClientError of another service."""
    bugs: list[Exception] = [KeyError("x"), ValueError("y")]
    if event in ("before-sign", "after-call", "request-created"):
        bugs.append(boto.ClientError({"Error": {"Code": "AccessDenied"}}, "PutItem"))
    for bug in bugs:
        boto3_client = service.boto3_client(config())

        def fail(bug: Exception = bug, **_: object) -> None:
            raise bug

        boto3_client.meta.events.register(f"{event}.cloudhsm-v2.RestoreBackup", fail)
        with pytest.raises(type(bug)) as caught:
            RestoreClient(boto3_client).restore_backup(BACKUP_ID)
        assert caught.value is bug
        boto3_client.close()


@pytest.mark.parametrize(
    "bug", [KeyboardInterrupt(), SystemExit(3), ZeroDivisionError(), KeyError("x"), ValueError("y")]
)
def test_bugs_and_interrupts_propagate(boto3_client: CloudHSMV2Client, bug: BaseException) -> None:
    """A bug in an event handler, SystemExit, and Ctrl-C propagate unchanged."""
    with raising(boto3_client, bug), pytest.raises(type(bug)) as caught:
        RestoreClient(boto3_client).restore_backup("backup-1")
    assert caught.value is bug


def test_an_interrupted_restore_is_logged_as_unknown(
    boto3_client: CloudHSMV2Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C during RestoreBackup logs one record, which reports an unknown outcome."""
    with raising(boto3_client, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        RestoreClient(boto3_client).restore_backup("backup-1")
    [record] = caplog.records
    assert "backup-1" in record.getMessage()
    assert "unknown" in record.getMessage()


def test_the_errors_of_a_misused_stubber_propagate(stubbed: tuple[RestoreClient, Stubber]) -> None:
    """A call that the test did not stub, or with other parameters, raises the Stubber's error."""
    client, stubber = stubbed
    with pytest.raises(boto.UnStubbedResponseError):
        client.restore_backup("backup-1")
    stubber.add_response("restore_backup", {"Backup": {"BackupId": "backup-1"}}, {"BackupId": "backup-1"})
    with pytest.raises(boto.StubAssertionError):
        client.restore_backup("backup-2")


# --- Arguments ---


@pytest.mark.parametrize(
    ("backup_id", "message"),
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
def test_invalid_backup_ids(
    make_client: MakeClient, raw_server: RawServer, backup_id: Any, message: str
) -> None:
    """An invalid ID is a ParameterError, which is a ValueError, and nothing is sent."""
    client = make_client(raw_server.url)
    for call in (client.restore_backup, client.get_backup, client.ensure_restored):
        with pytest.raises(ParameterError, match=message) as caught:
            call(backup_id)
        assert isinstance(caught.value, ValueError)
        assert not caught.value.outcome_unknown
    assert raw_server.requests == []


@pytest.mark.parametrize("backup_id", ["x", "backup-ÄÖ", "backup 1", "\ud800", "-" * 3000])
def test_other_ids_are_left_to_the_service(
    service: LocalCloudHsm, make_client: MakeClient, backup_id: str
) -> None:
    """Any other string is sent: the service decides whether it is the ID of a backup."""
    with pytest.raises(ResourceNotFoundError):
        make_client(service.endpoint_url).restore_backup(backup_id)
    assert len(service.requests) == 1
