"""Mistakes, one on each line. Every checker reports each marked line, and no other."""
# A mistake and its mark have to stay on one line:
# fmt: off

from datetime import timedelta
from typing import assert_never

from cloudhsm_restore import (
    ApiError,
    Backup,
    BackupState,
    Mode,
    RestoreClient,
    RestoreError,
    RestoreResult,
    Tag,
)
from cloudhsm_restore.aio import AsyncRestoreClient
from cloudhsm_restore.testing import (
    AsyncRestoreStubber,
    Fault,
    LocalCloudHsm,
    RestoreStubber,
    backup_response,
)


def misspelled() -> None:
    from cloudhsm_restore import RestorClient  # error: a name that does not exist


# --- The constructors ---

RestoreClient("eu-central-1")  # error: a region is not a client
RestoreClient(region="eu-central-1")  # error: it is region_name
RestoreClient(None, None)  # error: only the client is positional
RestoreClient(session="recovery")  # error: the name of a profile is not a session [not by mypy without stubs: boto3.Session is Any to it]
RestoreClient(region_name=1)  # error: not a string
AsyncRestoreClient("eu-central-1")  # error: a region is not a client
AsyncRestoreClient(region="eu-central-1")  # error: it is region_name


def both(service: LocalCloudHsm) -> None:
    RestoreClient(service.boto3_client())
    RestoreClient(service.boto3_client(), region_name="eu-central-1")  # error: the client has a region
    RestoreClient(service.boto3_client(), endpoint_url="http://localhost")  # error: the client has an endpoint
    RestoreClient(service.boto3_client(), config=None)  # error: nothing beside a client
    RestoreClient(service.client())  # error: a RestoreClient is not a boto3 client


# --- Calls ---


def calls(client: RestoreClient, backup: Backup) -> None:
    client.restore_backup()  # error: no ID
    client.restore_backup(backup)  # error: a backup is not an ID
    client.restore_backup(BackupId="backup-a2b3c4d5e6f")  # error: boto3's name of the parameter
    client.restore_backup("backup-a2b3c4d5e6f", 5)  # error: one argument
    client.get_backup(None)  # error: None is not an ID
    client.ensure_restored("backup-a2b3c4d5e6f", True)  # error: options are keywords only
    client.ensure_restored("backup-a2b3c4d5e6f", timeout="300")  # error: not a number
    client.ensure_restored("backup-a2b3c4d5e6f", timeout=timedelta(seconds=5))  # error: not a number
    client.describe_backups(state="READY")  # error: it is states
    client.describe_backups(states=[1])  # error: not a state
    client.describe_backups(backup_ids=[backup])  # error: backups are not IDs
    client.restore_backups([backup])  # error: backups are not IDs
    client.restore_backups(["backup-a2b3c4d5e6f"], max_workers=1.5)  # error: not an integer
    client.list_backups()  # error: no such method
    len(client.describe_backups())  # error: an iterator has no length
    client.describe_backups()[0]  # error: an iterator has no index
    for result in client.restore_backups([]):
        result.backup.backup_id  # error: not narrowed
        result.ok and result.backup.backup_id  # error: not narrowed by ok
        result.ok = True  # error: frozen
        result.backup = None  # error: frozen


def names(client: RestoreClient) -> str:
    return client.restore_backup("backup-a2b3c4d5e6f").backup_arn  # error: can be None


async def unawaited(client: AsyncRestoreClient) -> None:
    client.get_backup("backup-a2b3c4d5e6f").backup_id  # error: not awaited
    for _ in client.describe_backups():  # error: an asynchronous iterator
        pass
    await client.restore_backups([])  # error: an iterator, not an awaitable
    with AsyncRestoreClient():  # error: async with
        pass
    async with RestoreClient():  # error: with
        pass


# --- Backups ---

Backup()  # error: no ID
Backup(backup_id=1)  # error: not a string
Backup("backup-a2b3c4d5e6f")  # error: keywords only
Backup(backup_id="backup-a2b3c4d5e6f", state="READY")  # error: it is backup_state
Backup(backup_id="backup-a2b3c4d5e6f", backup_state=1)  # error: not a state
Backup(backup_id="backup-a2b3c4d5e6f", never_expires="yes")  # error: not a bool
Backup(backup_id="backup-a2b3c4d5e6f", tag_list=["team"])  # error: not a tag
Backup(backup_id="backup-a2b3c4d5e6f", tag_list=None)  # error: no tags are ()
Tag(key="team")  # error: no value
RestoreResult()  # error: no ID


def fields(backup: Backup, tag: Tag) -> None:
    backup.backup_state.is_known  # error: not narrowed
    backup.backup_state = BackupState.READY  # error: frozen
    backup.backup_id = "backup-b2c3d4e5f6g"  # error: frozen
    backup.is_restorable = True  # error: a property
    tag.value = "payments"  # error: frozen
    backup.tags["team"] = "payments"  # error: a read-only mapping
    backup.state  # error: it is backup_state
    backup.time_left().days  # error: not narrowed
    backup.time_left(5)  # error: not a datetime
    backup["BackupId"]  # error: not a dict
    backup.delete_timestamp.year  # error: not narrowed
    backup.tag_list.append(tag)  # error: a tuple
    BackupState.ARCHIVED  # error: no such member
    mode: Mode = BackupState.READY  # error: another enum
    state: BackupState = "READY"  # error: a string is not a member


def unhandled(state: BackupState) -> str:
    match state:
        case BackupState.READY | BackupState.PENDING_DELETION:
            return "fine"
        case BackupState.DELETED:
            return "permanently deleted"
        case _:
            assert_never(state)  # error: CREATE_IN_PROGRESS is not handled


def unhandled_return(state: BackupState) -> str:  # error: CREATE_IN_PROGRESS is not handled
    match state:  # error by pyright: reports it here too
        case BackupState.READY | BackupState.PENDING_DELETION:
            return "fine"
        case BackupState.DELETED:
            return "permanently deleted"


# --- Exceptions ---


def exceptions(error: RestoreError, api_error: ApiError) -> None:
    error.code  # error: only an ApiError has one
    error.outcome_unkown  # error: misspelled
    error.backup.backup_id  # error: not narrowed
    len(api_error.request_id)  # error: can be None
    api_error.requst_id  # error: misspelled [not by mypy without stubs: the base of ClientError is Any to it]
    ApiError("what happened")  # error: created like a ClientError
    RestoreError("what happened", "RestoreBackup")  # error: keywords only
    error.retryable = "yes"  # error: not a bool
    not_all: ApiError = error  # error: not every RestoreError


# --- In tests ---


def testing(stub: RestoreStubber, service: LocalCloudHsm) -> None:
    stub.add_error(ValueError)  # error: not a class of this library
    stub.add_error(ApiError({}, "RestoreBackup"))  # error: the class, not an instance [not by mypy without stubs: the base of ClientError is Any to it]
    stub.add_backup(state="READY")  # error: it is backup_state [not by ty: does not support Unpack yet]
    stub.add_backup(backup_state=1)  # error: not a state
    stub.add_backup(backup_state="PENDING")  # error: a misspelled state
    stub.add_backup(mode="FIBS")  # error: a misspelled mode
    service.add_backup(backup_state="PENDING")  # error: a misspelled state
    service.change_backup("backup-a2b3c4d5e6f", backup_state="PENDING")  # error: a misspelled state
    backup_response(backup_state="PENDING")  # error: a misspelled state
    backup_response(BackupId="backup-a2b3c4d5e6f")  # error: boto3's name [not by ty: does not support Unpack yet]
    service.add_backup(tag_list=[1])  # error: not a tag
    service.inject(5)  # error: not a fault
    service.inject(Fault.SLOW)  # error: no such fault
    service.endpoint_url = "http://127.0.0.1:1"  # error: a property
    service.advance(7)  # error: not a timedelta
    service.client(virtual_time="yes")  # error: not a bool
    LocalCloudHsm(0)  # error: options have no position


async def testing_asynchronously(stub: AsyncRestoreStubber) -> None:
    stub.add_backup(backup_state="PENDING")  # error: a misspelled state
    stub.client.restore_backup("backup-a2b3c4d5e6f").backup_id  # error: not awaited
    with stub:  # error: async with
        pass
