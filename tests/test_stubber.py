"""The helpers for unit tests: backup_response, RestoreStubber, and AsyncRestoreStubber."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import StubAssertionError, StubResponseError, UnStubbedResponseError
from botocore.stub import Stubber

from cloudhsm_restore import (
    AccessDeniedError,
    ApiError,
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
    RestoreClient,
    RestoreError,
    ServiceError,
    Tag,
    TagError,
    ThrottlingError,
    TransportError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from cloudhsm_restore.exceptions import AuthenticationError
from cloudhsm_restore.testing import AsyncRestoreStubber, RestoreStubber, backup_response


def test_threads_share_a_stubbed_client() -> None:
    """Each of many concurrent calls gets a response for its own backup."""
    backup_ids = [f"backup-{number}" for number in range(200)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with RestoreStubber() as stub:
            for _ in backup_ids:
                stub.add_backup()
            results = [*stub.client.restore_backups(backup_ids)]
    finally:
        sys.setswitchinterval(interval)
    assert sorted(result.unwrap().backup_id for result in results) == sorted(backup_ids)


def test_nothing_is_sent_outside_the_block() -> None:
    """Before ``with`` and after it, a call that was not queued fails as within it."""
    stub = RestoreStubber()
    with pytest.raises(UnStubbedResponseError):
        stub.client.restore_backup("backup-1")
    with stub:
        pass
    with pytest.raises(UnStubbedResponseError):
        stub.client.restore_backup("backup-1")


def test_a_response_for_botocores_stubber() -> None:
    """``backup_response`` is a valid response to RestoreBackup, with and without fields."""
    client = boto3.client(
        "cloudhsmv2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stubber:
        response = backup_response(
            backup_id="backup-1", tag_list=[Tag(key="a", value="b")], source_region="eu-west-1"
        )
        stubber.add_response("restore_backup", response, {"BackupId": "backup-1"})
        backup = RestoreClient(client).restore_backup("backup-1")
    assert backup.backup_state is BackupState.READY
    assert backup.tags == {"a": "b"}
    assert backup.source_region == "eu-west-1"
    assert Backup.model_validate(response["Backup"]) == backup
    client.close()


def test_a_response_has_boto3s_shape() -> None:
    """It holds plain strings, lists and aware datetimes, and every call makes a new ID."""
    response = backup_response(
        backup_state=BackupState.PENDING_DELETION, tag_list=[{"Key": "a", "Value": "b"}]
    )
    raw = response["Backup"]
    state: Any = raw.get("BackupState")
    assert type(state) is str
    assert raw.get("TagList") == [{"Key": "a", "Value": "b"}]
    assert raw.get("DeleteTimestamp", datetime.min.replace(tzinfo=UTC)) > datetime.now(UTC) + timedelta(
        days=6
    )
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert backup_response()["Backup"]["BackupId"] != raw["BackupId"]
    assert "DeleteTimestamp" not in backup_response()["Backup"]
    assert "Mode" not in backup_response(mode=None)["Backup"]
    with pytest.raises(TypeError, match="no field color"):
        backup_response(color="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_it_needs_nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no credentials and no Region, and a broken environment changes nothing."""
    monkeypatch.setenv("AWS_PROFILE", "ghost")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null/nowhere")
    with RestoreStubber() as stub:
        stub.add_backup(backup_id="backup-1", hsm_type="hsm2m.medium")
        assert stub.client.restore_backup("backup-1").hsm_type == "hsm2m.medium"


def test_the_parameters_are_checked() -> None:
    """A queued ID must be the one in the call; without one, the response is for the ID in the call."""
    with RestoreStubber() as stub:
        stub.add_backup()
        assert stub.client.restore_backup("backup-any").backup_id == "backup-any"
    with pytest.raises(StubAssertionError), RestoreStubber() as stub:
        stub.add_backup(backup_id="backup-1")
        stub.client.restore_backup("backup-2")


def test_what_was_not_called_fails() -> None:
    """Exiting the block with unused responses is an AssertionError, unless it exits with an exception."""
    with pytest.raises(AssertionError, match="1 responses remaining"), RestoreStubber() as stub:
        stub.add_backup()
    with pytest.raises(ZeroDivisionError), RestoreStubber() as stub:
        stub.add_backup()
        raise ZeroDivisionError


def test_what_was_not_stubbed_fails() -> None:
    """A call without a response, or of another operation, raises the Stubber's error."""
    with RestoreStubber() as stub, pytest.raises(UnStubbedResponseError):
        stub.client.restore_backup("backup-1")
    with pytest.raises(StubResponseError), RestoreStubber() as stub:
        stub.add_backup()
        stub.client.get_backup("backup-1")


RAISED: list[tuple[type[RestoreError], bool]] = [
    (ApiError, False),
    (AccessDeniedError, False),
    (InternalFailureError, True),
    (InvalidRequestError, False),
    (ResourceNotFoundError, False),
    (ServiceError, False),
    (TagError, False),
    (AuthenticationError, False),
    (ThrottlingError, False),
    (ConfigurationError, False),
    (ConnectError, False),
    (TransportError, True),
    (ConnectionLostError, True),
    (ResponseTimeoutError, True),
    (UnexpectedResponseError, True),
]


@pytest.mark.parametrize(("cls", "unknown"), RAISED)
def test_errors_to_order(cls: type[RestoreError], unknown: bool) -> None:
    """The client raises the class that was queued, with the ``outcome_unknown`` that belongs to it."""
    with RestoreStubber() as stub:
        stub.add_error(cls, message="no such luck")
        with pytest.raises(cls) as caught:
            stub.client.restore_backup("backup-1")
    assert type(caught.value) is cls
    assert caught.value.outcome_unknown is unknown
    if isinstance(caught.value, ApiError):
        assert caught.value.message == "no such luck"
        assert caught.value.code in (caught.value.codes or ("Unknown",))


def test_a_code_to_order() -> None:
    """A code of one's own choice finds its class, or none."""
    with RestoreStubber() as stub:
        stub.add_error(ApiError, code="ANewException")
        with pytest.raises(ApiError) as caught:
            stub.client.restore_backup("backup-1")
    assert (type(caught.value), caught.value.code) == (ApiError, "ANewException")


@pytest.mark.parametrize("cls", [WaitTimeoutError, NotRestorableError, ParameterError, RestoreError])
def test_errors_without_a_single_response(cls: type[RestoreError]) -> None:
    """An error that no single response causes is rejected when it is queued."""
    with RestoreStubber() as stub, pytest.raises(TypeError, match=cls.__name__):
        stub.add_error(cls)


def test_a_whole_story() -> None:
    """Responses of other operations can be queued, too: a lost response, resolved by DescribeBackups."""
    with RestoreStubber() as stub:
        stub.add_error(ConnectionLostError)
        stub.add_response(
            {"Backups": [backup_response(backup_id="backup-1")["Backup"]]}, operation="DescribeBackups"
        )
        stub.add_error(AccessDeniedError, operation="ModifyBackupAttributes")
        with pytest.raises(AccessDeniedError) as caught:
            stub.client.ensure_restored("backup-1", never_expires=True)
    assert caught.value.backup is not None
    assert caught.value.backup.backup_state is BackupState.READY


def test_an_operation_that_there_is_not() -> None:
    """A misspelled operation is a ValueError."""
    with RestoreStubber() as stub, pytest.raises(ValueError, match="RestoreBackups"):
        stub.add_response({}, operation="RestoreBackups")


def test_the_block_of_the_asynchronous_stubber() -> None:
    """Unused responses are an AssertionError, and a call without a response raises the Stubber's error."""

    async def unused() -> None:
        async with AsyncRestoreStubber() as stub:
            stub.add_backup()

    async def another_failure() -> None:
        async with AsyncRestoreStubber() as stub:
            stub.add_backup()
            raise ZeroDivisionError

    async def not_queued() -> None:
        async with AsyncRestoreStubber() as stub:
            with pytest.raises(UnStubbedResponseError):
                await stub.client.restore_backup("backup-1")

    with pytest.raises(AssertionError, match="1 responses remaining"):
        asyncio.run(unused())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(another_failure())
    asyncio.run(not_queued())


@pytest.mark.parametrize(("cls", "unknown"), RAISED)
def test_asynchronous_errors(cls: type[RestoreError], unknown: bool) -> None:
    """The asynchronous client raises the same."""

    async def main() -> None:
        async with AsyncRestoreStubber() as stub:
            stub.add_error(cls)
            with pytest.raises(cls) as caught:
                await stub.client.restore_backup("backup-1")
        assert (type(caught.value), caught.value.outcome_unknown) == (cls, unknown)

    asyncio.run(main())
