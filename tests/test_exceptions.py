"""The exception hierarchy: base classes, attributes, messages, and whole copies."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import botocore.exceptions
import pytest

import cloudhsm_restore
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
    NotRestorableError,
    ParameterError,
    ResourceNotFoundError,
    ResponseTimeoutError,
    RestoreError,
    ServiceError,
    TagError,
    ThrottlingError,
    TransportError,
    UnexpectedResponseError,
    WaitTimeoutError,
)

API_ERRORS: list[type[ApiError]] = [
    ApiError,
    AccessDeniedError,
    InternalFailureError,
    InvalidRequestError,
    ResourceNotFoundError,
    ServiceError,
    TagError,
    AuthenticationError,
    ThrottlingError,
]
OTHER_ERRORS: list[type[RestoreError]] = [
    RestoreError,
    ConfigurationError,
    ParameterError,
    TransportError,
    ConnectError,
    ConnectionLostError,
    ResponseTimeoutError,
    UnexpectedResponseError,
    NotRestorableError,
    WaitTimeoutError,
]
RESPONSE: dict[str, Any] = {
    "Error": {"Code": "SomeCode", "Message": "Some\nmessage."},
    "ResponseMetadata": {"RequestId": "request-1", "HTTPStatusCode": 418, "RetryAttempts": 2},
}


def specimens() -> list[RestoreError]:
    """Return one error of each class, with every attribute different from its default."""
    common: dict[str, Any] = {
        "backup_id": "backup-1",
        "retryable": True,
        "outcome_unknown": True,
        "backup": Backup(backup_id="backup-1", backup_state=BackupState.PENDING_DELETION),
    }
    errors: list[RestoreError] = [cls(RESPONSE, "RestoreBackup", **common) for cls in API_ERRORS]
    errors += [
        UnexpectedResponseError("odd", response={"a": 1}, operation="RestoreBackup", **common)
        if cls is UnexpectedResponseError
        else cls("something", operation="RestoreBackup", **common)
        for cls in OTHER_ERRORS
    ]
    return errors


def returned(error: RestoreError) -> RestoreError:
    """Return the error, for a worker process."""
    return error


def raised(error: RestoreError) -> None:
    """Raise the error, for a worker process."""
    raise error


def assert_same(copied: BaseException | None, error: RestoreError) -> None:
    """Check that a copy has the type and every attribute of the error."""
    assert copied is not None
    assert type(copied) is type(error)
    assert vars(copied) == vars(error)
    assert (str(copied), repr(copied), copied.args) == (str(error), repr(error), error.args)


def test_the_hierarchy() -> None:
    """Each class has the base classes that the documentation shows."""
    bases = {
        ParameterError: ValueError,
        ConnectError: ConnectionError,
        ConnectionLostError: ConnectionError,
        ResponseTimeoutError: TimeoutError,
        WaitTimeoutError: TimeoutError,
        ApiError: botocore.exceptions.ClientError,
    }
    for cls, base in bases.items():
        assert issubclass(cls, base)
    assert set(TransportError.__subclasses__()) == {ConnectError, ConnectionLostError, ResponseTimeoutError}
    assert set(ApiError.__subclasses__()) == set(API_ERRORS) - {ApiError}
    assert set(RestoreError.__subclasses__()) == {
        ConfigurationError,
        ParameterError,
        TransportError,
        UnexpectedResponseError,
        NotRestorableError,
        WaitTimeoutError,
        ApiError,
    }
    assert {cls.__name__ for cls in [*API_ERRORS, *OTHER_ERRORS]} <= set(cloudhsm_restore.__all__)


@pytest.mark.parametrize("error", specimens(), ids=lambda error: type(error).__name__)
def test_copies_are_whole(error: RestoreError) -> None:
    """Pickle in every protocol, copy, and deepcopy keep the type and every attribute."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert_same(pickle.loads(pickle.dumps(error, protocol)), error)
    assert_same(copy.copy(error), error)
    assert_same(copy.deepcopy(error), error)


def test_errors_pass_through_a_process_pool() -> None:
    """An error that another process returns or raises is whole."""
    with ProcessPoolExecutor(1) as pool:
        for error in specimens():
            assert_same(pool.submit(returned, error).result(), error)
            assert_same(pool.submit(raised, error).exception(), error)


def test_notes_survive_pickling() -> None:
    """Pickle keeps the notes of ``add_note``."""
    error = ConnectError("no route")
    error.add_note("from the office")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["from the office"]


@pytest.mark.parametrize("cls", API_ERRORS)
def test_an_api_error_is_a_client_error(cls: type[ApiError]) -> None:
    """An ApiError is a ClientError with botocore's attributes."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        raise cls(RESPONSE, "RestoreBackup")
    error = caught.value
    assert isinstance(error, cls)
    response: Any = error.response
    assert response["Error"]["Code"] == error.code == "SomeCode"
    assert error.operation_name == error.operation == "RestoreBackup"
    assert error.message == "Some\nmessage."
    assert error.request_id == "request-1"
    assert error.http_status_code == 418
    assert error.attempts == 3


def test_an_api_error_without_a_response() -> None:
    """An ApiError of an empty response has a value for every attribute."""
    error = ApiError({}, "RestoreBackup")
    assert (error.code, error.message, error.request_id, error.http_status_code) == (
        "Unknown",
        "",
        None,
        None,
    )
    assert error.attempts == 1
    assert str(error) == "RestoreBackup: Unknown. This call did not restore it."


@pytest.mark.parametrize("error", specimens(), ids=lambda error: type(error).__name__)
def test_messages_are_one_line(error: RestoreError) -> None:
    """``str()`` is one line with the operation, the backup, and the unknown outcome."""
    assert len(str(error).splitlines()) == 1
    assert str(error).startswith("RestoreBackup backup-1: ")
    assert "may have been restored anyway" in str(error)


def test_line_breaks_are_removed() -> None:
    """Line breaks in an ID or in a response do not split the message."""
    error = ApiError({"Error": {"Code": "A\nB", "Message": "C\r\nD"}}, "RestoreBackup", backup_id="x\ny")
    assert str(error).splitlines() == ["RestoreBackup x y: A B: C D. This call did not restore it."]


def test_messages_state_the_outcome() -> None:
    """The message states that the backup was not, may have been, or is restored; that of a read does not."""

    def message(**attributes: Any) -> str:
        return str(ConnectionLostError("gone", backup_id="backup-1", **attributes))

    ready = Backup(backup_id="backup-1", backup_state=BackupState.READY)
    assert message(operation="RestoreBackup") == "RestoreBackup backup-1: gone. This call did not restore it."
    assert "may have been restored" in message(operation="RestoreBackup", outcome_unknown=True)
    assert "The backup is restored (READY)." in message(operation="ModifyBackupAttributes", backup=ready)
    assert message(operation="DescribeBackups") == "DescribeBackups backup-1: gone."


@pytest.mark.parametrize("cls", [*API_ERRORS, *OTHER_ERRORS])
def test_defaults(cls: type[RestoreError]) -> None:
    """A message or a response is enough to create an error, and the five attributes have defaults."""
    error = cls(RESPONSE, "RestoreBackup") if issubclass(cls, ApiError) else cls("something")
    assert error.operation == ("RestoreBackup" if issubclass(cls, ApiError) else None)
    assert error.backup_id is None
    assert error.outcome_unknown is False
    assert error.backup is None
    retryable = {
        TransportError, ConnectError, ConnectionLostError, ResponseTimeoutError, UnexpectedResponseError,
        WaitTimeoutError, InternalFailureError, ThrottlingError,
    }  # fmt: skip
    assert error.retryable is (cls in retryable)
    assert str(error)


@pytest.mark.parametrize(
    ("operation", "has_advice"),
    [("RestoreBackup", True), ("DescribeBackups", False), ("ModifyBackupAttributes", False)],
)
def test_advice_depends_on_the_operation(operation: str, has_advice: bool) -> None:
    """Only the message of a rejected RestoreBackup names the state that RestoreBackup accepts."""
    error = InvalidRequestError(RESPONSE, operation, backup_id="backup-1")
    assert ("Only a backup in PENDING_DELETION can be restored" in str(error)) is has_advice


def test_an_id_of_a_megabyte_does_not_fill_the_screen() -> None:
    """The text shows the start of an ID, and the attribute has all of it."""
    error = RestoreError("failed", operation="RestoreBackup", backup_id="x" * 1_000_000)
    assert len(str(error)) < 200
    assert error.backup_id == "x" * 1_000_000


def test_an_unexpected_response_keeps_its_body() -> None:
    """An application can raise the error itself, with a body."""
    error = UnexpectedResponseError("unexpected", body="<html>")
    assert error.body == "<html>"
    assert pickle.loads(pickle.dumps(error)).body == "<html>"
