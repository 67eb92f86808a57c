"""The family: how its members are related, what they carry and say, and that nothing is lost on the way."""

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
OTHERS: list[type[RestoreError]] = [
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
    """One of each class, with every attribute different from its default."""
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
        for cls in OTHERS
    ]
    return errors


def returned(error: RestoreError) -> RestoreError:
    """For a worker process: what goes in comes out."""
    return error


def raised(error: RestoreError) -> None:
    """For a worker process: raise it there."""
    raise error


def assert_same(again: BaseException | None, error: RestoreError) -> None:
    """The type and every attribute are kept."""
    assert again is not None
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)


def test_the_tree() -> None:
    """The classes are related as the documentation draws them."""
    bases = {
        ParameterError: ValueError,
        ConnectError: ConnectionError,
        ConnectionLostError: ConnectionError,
        ResponseTimeoutError: TimeoutError,
        WaitTimeoutError: TimeoutError,
        ApiError: botocore.exceptions.ClientError,
    }
    for ours, theirs in bases.items():
        assert issubclass(ours, theirs)
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
    assert {cls.__name__ for cls in [*API_ERRORS, *OTHERS]} <= set(cloudhsm_restore.__all__)


@pytest.mark.parametrize("error", specimens(), ids=lambda error: type(error).__name__)
def test_copies_are_whole(error: RestoreError) -> None:
    """Pickling in every protocol, copying and deep copying keep the type and every attribute."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert_same(pickle.loads(pickle.dumps(error, protocol)), error)
    assert_same(copy.copy(error), error)
    assert_same(copy.deepcopy(error), error)


def test_a_trip_through_a_process_pool() -> None:
    """An error that was returned from or raised in another process arrives whole."""
    with ProcessPoolExecutor(1) as pool:
        for error in specimens():
            assert_same(pool.submit(returned, error).result(), error)
            assert_same(pool.submit(raised, error).exception(), error)


def test_notes_survive_pickling() -> None:
    """What ``add_note`` added is not lost."""
    error = ConnectError("no route")
    error.add_note("seen from the office")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["seen from the office"]


@pytest.mark.parametrize("cls", API_ERRORS)
def test_an_api_error_is_a_client_error(cls: type[ApiError]) -> None:
    """Code that catches ClientError and reads botocore's attributes goes on working."""
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


def test_an_api_error_of_an_empty_response() -> None:
    """A response without anything in it still makes a usable error."""
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
    """``str()`` is one line that names the operation and the backup, and says that it may have worked."""
    assert len(str(error).splitlines()) == 1
    assert str(error).startswith("RestoreBackup backup-1: ")
    assert "may have been restored anyway" in str(error)


def test_an_id_cannot_forge_a_line() -> None:
    """Line breaks in what the caller or the service said do not break the message."""
    error = ApiError({"Error": {"Code": "A\nB", "Message": "C\r\nD"}}, "RestoreBackup", backup_id="x\ny")
    assert str(error).splitlines() == ["RestoreBackup x y: A B: C D. This call did not restore it."]


def test_messages_say_how_it_ended() -> None:
    """The message says whether the backup was restored: no, perhaps, or yes; of a read it says nothing."""

    def said(**attributes: Any) -> str:
        return str(ConnectionLostError("gone", backup_id="backup-1", **attributes))

    ready = Backup(backup_id="backup-1", backup_state=BackupState.READY)
    assert said(operation="RestoreBackup") == "RestoreBackup backup-1: gone. This call did not restore it."
    assert "may have been restored" in said(operation="RestoreBackup", outcome_unknown=True)
    assert "The backup is restored (READY)." in said(operation="ModifyBackupAttributes", backup=ready)
    assert said(operation="DescribeBackups") == "DescribeBackups backup-1: gone."


@pytest.mark.parametrize("cls", [*API_ERRORS, *OTHERS])
def test_defaults(cls: type[RestoreError]) -> None:
    """Every error has the five attributes, and is made from a message alone or from a response."""
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
    ("operation", "advised"),
    [("RestoreBackup", True), ("DescribeBackups", False), ("ModifyBackupAttributes", False)],
)
def test_advice_fits_the_operation(operation: str, advised: bool) -> None:
    """What RestoreBackup takes is said where RestoreBackup was refused, and nowhere else."""
    error = InvalidRequestError(RESPONSE, operation, backup_id="backup-1")
    assert ("Only a backup in PENDING_DELETION can be restored" in str(error)) is advised
