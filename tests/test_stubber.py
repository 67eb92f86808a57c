"""The helpers for the tests of others: backup_response and RestoreStubber."""

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
from cloudhsm_restore.testing import RestoreStubber, backup_response


def test_threads_share_a_stubbed_client() -> None:
    """Each of many calls at a time gets an answer about its own backup."""
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
    """``backup_response`` is a valid answer to RestoreBackup as it is, and with any field."""
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
    with pytest.raises(TypeError, match="no field colour"):
        backup_response(colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_it_needs_nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor a region, and an environment that is broken does no harm."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null/nowhere")
    with RestoreStubber() as stub:
        stub.add_backup(backup_id="backup-1", hsm_type="hsm2m.medium")
        assert stub.client.restore_backup("backup-1").hsm_type == "hsm2m.medium"


def test_the_parameters_are_checked() -> None:
    """A stubbed ID must be the one that is asked for; without one, any will do and is the one answered."""
    with RestoreStubber() as stub:
        stub.add_backup()
        assert stub.client.restore_backup("backup-any").backup_id == "backup-any"
    with pytest.raises(StubAssertionError), RestoreStubber() as stub:
        stub.add_backup(backup_id="backup-1")
        stub.client.restore_backup("backup-2")


def test_what_was_not_called_fails() -> None:
    """Leaving the block with answers left over is an AssertionError, but not over another failure."""
    with pytest.raises(AssertionError, match="1 responses remaining"), RestoreStubber() as stub:
        stub.add_backup()
    with pytest.raises(ZeroDivisionError), RestoreStubber() as stub:
        stub.add_backup()
        raise ZeroDivisionError


def test_what_was_not_stubbed_fails() -> None:
    """A call without an answer, or of another operation, is the Stubber's own error."""
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
    """The client raises the very class that was asked for, with the doubt that belongs to it."""
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
def test_what_no_answer_brings_about(cls: type[RestoreError]) -> None:
    """An error that no single answer can cause is refused when it is queued."""
    with RestoreStubber() as stub, pytest.raises(TypeError, match=cls.__name__):
        stub.add_error(cls)


def test_a_whole_story() -> None:
    """Answers of other operations can be queued too: a lost answer, settled by asking."""
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
    """A misspelt operation is a ValueError."""
    with RestoreStubber() as stub, pytest.raises(ValueError, match="RestoreBackups"):
        stub.add_response({}, operation="RestoreBackups")
