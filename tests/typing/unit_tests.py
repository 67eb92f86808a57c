"""The unit tests of an application. Type checkers read them; they are never run."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import assert_type
from unittest.mock import AsyncMock, Mock, create_autospec, patch

from cloudhsm_restore import (
    Backup,
    BackupState,
    InvalidRequestError,
    Mode,
    RestoreClient,
    Tag,
    ThrottlingError,
)
from cloudhsm_restore.aio import AsyncRestoreClient
from cloudhsm_restore.testing import (
    AsyncRestoreStubber,
    BackupFields,
    Fault,
    LocalCloudHsm,
    ReceivedRequest,
    RestoreStubber,
    backup_response,
)


@contextmanager
def stubbed() -> Generator[RestoreStubber]:
    with RestoreStubber() as stub:
        assert_type(stub, RestoreStubber)
        stub.add_backup()
        stub.add_backup(backup_id="backup-a2b3c4d5e6f", backup_state="READY", mode=Mode.FIPS)
        stub.add_backup(backup_state=BackupState("ARCHIVED"), mode="NON_FIPS")
        stub.add_error(InvalidRequestError)
        stub.add_error(ThrottlingError, message="Rate exceeded", code="SlowDown", operation="DescribeBackups")
        stub.add_response(backup_response(), operation="RestoreBackup")
        stub.add_response({"Backups": []})
        yield stub


def test_restores() -> None:
    with stubbed() as stub:
        assert_type(stub.client, RestoreClient)
        assert_type(stub.client.restore_backup("backup-a2b3c4d5e6f"), Backup)


async def test_restores_asynchronously(fixture: AsyncRestoreStubber) -> None:
    async with AsyncRestoreStubber() as stub:
        assert_type(stub, AsyncRestoreStubber)
        assert_type(stub.client, AsyncRestoreClient)
        stub.add_backup(backup_state="PENDING_DELETION")
        stub.add_error(InvalidRequestError)
        stub.add_response({"Backups": []})
        assert_type(await stub.client.restore_backup("backup-a2b3c4d5e6f"), Backup)
    fixture.add_backup()


def test_reports_requests() -> None:
    received: list[ReceivedRequest] = []
    LocalCloudHsm(on_request=received.append).close()


def test_survives_a_lost_response() -> None:
    with LocalCloudHsm(port=0, region_name="eu-central-1") as service:
        assert_type(service, LocalCloudHsm)
        backup = service.add_backup(backup_state="PENDING_DELETION", tag_list=[Tag(key="team", value="pay")])
        assert_type(backup, Backup)
        service.inject(Fault.DROP_AFTER_WORK, operation="RestoreBackup", times=2)
        service.inject("delay", seconds=0.5)
        service.inject_randomly(1, 0.5, [Fault.DELAY, Fault.THROTTLED])
        service.clear_faults()
        assert_type(service.client(), RestoreClient)
        assert_type(service.client(virtual_time=True), RestoreClient)
        assert_type(service.client().ensure_restored(backup.backup_id), Backup)
        assert_type(service.endpoint_url, str)
        assert_type(service.environ, dict[str, str])
        assert_type(service.backups, Mapping[str, Backup])
        assert_type(service.requests, tuple[ReceivedRequest, ...])
        assert_type([request.fault for request in service.requests], list[Fault | None])
        assert_type(service.requests[0].operation, str)
        assert_type(service.requests[0].backup_id, str | None)
        assert_type(service.requests[0].done, bool)
        assert_type(service.requests[0].status, int | None)
        assert_type(service.requests[0].time, datetime)
        assert_type(service.change_backup(backup.backup_id, backup_state=BackupState.READY), Backup)
        assert_type(service.now, datetime)
        service.advance(timedelta(days=7))
        service.remove_backup(backup.backup_id)
        service.refuse()
        service.listen()


def fields() -> BackupFields:
    some: BackupFields = {"backup_state": "READY", "tag_list": [{"Key": "team", "Value": "payments"}]}
    backup_response(**some)
    return some


assert_type(backup_response(backup_id="backup-a2b3c4d5e6f")["Backup"]["BackupId"], str)
assert_type(Backup.model_validate(backup_response()["Backup"]), Backup)


# --- Mocks ---


def urgent(client: RestoreClient) -> Backup:
    return client.ensure_restored("backup-a2b3c4d5e6f", never_expires=True)


def test_with_a_mock() -> None:
    mock = Mock(spec=RestoreClient)
    mock.ensure_restored.return_value = Backup(backup_id="backup-a2b3c4d5e6f", backup_state="READY")
    assert urgent(mock).backup_state is BackupState.READY
    mock.ensure_restored.assert_called_once_with("backup-a2b3c4d5e6f", never_expires=True)


def test_with_an_autospec() -> None:
    client = create_autospec(RestoreClient, instance=True, spec_set=True)
    client.ensure_restored.side_effect = InvalidRequestError({}, "RestoreBackup")
    urgent(client)


async def test_with_an_asynchronous_mock() -> None:
    client = AsyncMock(spec=AsyncRestoreClient)
    client.ensure_restored.return_value = Backup(backup_id="backup-a2b3c4d5e6f")
    await client.ensure_restored("backup-a2b3c4d5e6f")


def test_with_a_patch() -> None:
    with patch.object(RestoreClient, "restore_backup", autospec=True) as restore_backup:
        restore_backup.return_value = Backup(backup_id="backup-a2b3c4d5e6f")
