"""An application as its authors write it. Type checkers read it; it is never run."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self, assert_never, assert_type

from typing_extensions import override

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
    Mode,
    NotRestorableError,
    ParameterError,
    ResourceNotFoundError,
    ResponseTimeoutError,
    RestoreClient,
    RestoreError,
    RestoreResult,
    ServiceError,
    Tag,
    TagError,
    ThrottlingError,
    TransportError,
    UnexpectedResponseError,
    WaitTimeoutError,
    __version__,
)

version: str = __version__
assert_type(cloudhsm_restore.Backup(backup_id="backup-a2b3c4d5e6f"), Backup)


# --- Creating a client ---

assert_type(RestoreClient(), RestoreClient)
RestoreClient(None)
RestoreClient(region_name="eu-central-1")
RestoreClient(endpoint_url="http://127.0.0.1:8080", region_name=None)
RestoreClient(session=None, region_name="eu-central-1", endpoint_url=None, config=None)
RestoreClient(None, region_name="eu-central-1")


# --- Restoring ---


def restore(backup_id: str) -> str:
    with RestoreClient() as client:
        assert_type(client, RestoreClient)
        backup = client.restore_backup(backup_id)
        assert_type(backup, Backup)
        assert_type(client.get_backup(backup_id), Backup)
        assert_type(client.ensure_restored(backup_id), Backup)
        assert_type(client.ensure_restored(backup_id, never_expires=True, timeout=60), Backup)
        return backup.backup_id


def pending(client: RestoreClient) -> Iterator[Backup]:
    backups = client.describe_backups(states=[BackupState.PENDING_DELETION, "READY"], never_expires=False)
    assert_type(backups, Generator[Backup, None, None])
    yield from backups
    yield from client.describe_backups(states={"READY"}, cluster_ids=("cluster-a2b3c4d5e6f",))
    yield from client.describe_backups(
        backup_ids=(backup.backup_id for backup in backups), source_backup_ids=[]
    )
    with closing(client.describe_backups(states=BackupState)) as every_state:
        assert_type([backup.cluster_id for backup in every_state], list[str | None])


def restore_many(client: RestoreClient, backup_ids: Iterable[str]) -> dict[str, RestoreError]:
    failed: dict[str, RestoreError] = {}
    results = client.restore_backups(backup_ids, never_expires=None, max_workers=2, timeout=0.5)
    assert_type(results, Generator[RestoreResult, None, None])
    for result in results:
        assert_type(result, RestoreResult)
        assert_type(result.backup_id, str)
        assert_type(result.ok, bool)
        assert_type(result.backup, Backup | None)
        assert_type(result.error, RestoreError | None)
        assert_type(result.changed, bool | None)
        assert_type(result.request_id, str | None)
        if result.error is not None:
            failed[result.backup_id] = result.error
            continue
        assert_type(result.unwrap(), Backup)
    client.close()
    return failed


RestoreResult("backup-a2b3c4d5e6f", Backup(backup_id="backup-a2b3c4d5e6f"))
RestoreResult("backup-a2b3c4d5e6f", error=ParameterError("invalid ID"))
RestoreResult(backup_id="backup-a2b3c4d5e6f", backup=None, error=None)


def describe(result: RestoreResult) -> str:
    match result:
        case RestoreResult(backup_id, Backup() as backup):
            assert_type(backup, Backup)
            return f"{backup_id} is {backup.backup_state}"
        case RestoreResult(error=RestoreError() as error):
            assert_type(error.outcome_unknown, bool)
            return str(error)
        case _:
            return "neither"


async def restore_elsewhere(client: RestoreClient) -> None:
    assert_type(await asyncio.to_thread(client.ensure_restored, "backup-a2b3c4d5e6f", timeout=5.0), Backup)


as_a_callback: Callable[[str], Backup] = RestoreClient().restore_backup


# --- The attributes of a backup ---


def attributes(backup: Backup) -> None:
    assert_type(backup.backup_id, str)
    assert_type(backup.backup_arn, str | None)
    assert_type(backup.backup_state, BackupState | None)
    assert_type(backup.cluster_id, str | None)
    assert_type(backup.create_timestamp, datetime | None)
    assert_type(backup.copy_timestamp, datetime | None)
    assert_type(backup.never_expires, bool | None)
    assert_type(backup.source_region, str | None)
    assert_type(backup.source_backup, str | None)
    assert_type(backup.source_cluster, str | None)
    assert_type(backup.delete_timestamp, datetime | None)
    assert_type(backup.tag_list, tuple[Tag, ...])
    assert_type(backup.hsm_type, str | None)
    assert_type(backup.mode, Mode | None)
    assert_type(backup.tags, Mapping[str, str])
    assert_type(backup.tags["team"], str)
    assert_type(backup.is_restorable, bool)
    assert_type(backup.time_left(), timedelta | None)
    assert_type(backup.time_left(datetime.now(UTC)), timedelta | None)
    assert_type(backup.model_dump(by_alias=True, exclude_unset=True), dict[str, Any])
    assert_type(backup.model_copy(), Backup)
    assert_type({backup: backup.backup_id}, dict[Backup, str])
    for tag in backup.tag_list:
        assert_type(tag, Tag)
        assert_type(tag.key, str)
        assert_type(tag.value, str)


def find(backup_id: str) -> Backup | None:
    try:
        return RestoreClient().get_backup(backup_id)
    except ResourceNotFoundError:
        return None


def narrowing() -> float:
    backup = find("backup-a2b3c4d5e6f")
    assert_type(backup, Backup | None)
    if backup is None:
        return 0.0
    assert_type(backup, Backup)
    if (left := backup.time_left()) is None:
        return 0.0
    if backup.delete_timestamp:
        assert_type(backup.delete_timestamp.tzinfo is UTC, bool)
    if backup.backup_state is not None:
        assert_type(backup.backup_state, BackupState)
    return left.total_seconds()


# --- Creating a backup: the constructor accepts more types than a field has ---

backup = Backup(
    backup_id="backup-a2b3c4d5e6f",
    backup_arn=None,
    backup_state="PENDING_DELETION",
    cluster_id="cluster-a2b3c4d5e6f",
    create_timestamp=datetime(2026, 1, 2, tzinfo=UTC),
    copy_timestamp=None,
    never_expires=True,
    source_region="eu-central-1",
    source_backup=None,
    source_cluster=None,
    delete_timestamp=datetime(2026, 1, 9, tzinfo=UTC),
    tag_list=[Tag(key="team", value="payments"), {"Key": "stage", "Value": "live"}],
    hsm_type="hsm1.medium",
    mode="NON_FIPS",
)
assert_type(backup.backup_state, BackupState | None)
assert_type(backup.mode, Mode | None)
assert_type(backup.tag_list, tuple[Tag, ...])
Backup(backup_id="backup-a2b3c4d5e6f", backup_state=BackupState.READY, mode=Mode.FIPS, tag_list=())
assert_type(Backup.model_validate({"BackupId": "backup-a2b3c4d5e6f"}), Backup)


class OwnedBackup(Backup, frozen=True):
    """A subclass with the inherited fields and a new one."""

    owner: str = "unknown"

    @property
    def label(self) -> str:
        return f"{self.backup_id} of {self.owner}"


owned = OwnedBackup.model_validate({"BackupId": "backup-a2b3c4d5e6f", "owner": "payments"})
assert_type(owned, OwnedBackup)
assert_type(owned.backup_state, BackupState | None)
labeled = OwnedBackup(backup_id="backup-a2b3c4d5e6f", owner="pay")  # error by ty: uses the __init__ of Backup
assert_type(labeled.label, str)


# --- States: the enum is open ---

as_a_string: str = BackupState.READY.value
assert_type(BackupState("ARCHIVED"), BackupState)
assert_type(BackupState.READY.is_known, bool)
assert_type([state for state in BackupState], list[BackupState])  # noqa: C416  (it checks the type of an element)
assert_type(Mode("FIPS"), Mode)
is_a_string: str = BackupState.READY
READY: Literal[BackupState.READY] = BackupState.READY


def known_states(state: BackupState) -> str:
    """Return a text for every member. A checker takes them for all values, but a state that AWS adds later
    matches `case _`, where `assert_never` raises. So the check for unknown states comes first."""
    if not state.is_known:
        return f"a state that this version does not know: {state}"
    match state:
        case BackupState.CREATE_IN_PROGRESS:
            return "wait"
        case BackupState.READY | BackupState.PENDING_DELETION:
            return "fine"
        case BackupState.DELETED:
            return "permanently deleted"
        case _:
            assert_never(state)


def known_modes(mode: Mode) -> str:
    if mode is Mode.FIPS:
        return "FIPS"
    assert_type(mode, Literal[Mode.NON_FIPS])
    return str(mode)


def any_state(state: BackupState | None) -> bool:
    match state:
        case BackupState.PENDING_DELETION:
            assert_type(state, Literal[BackupState.PENDING_DELETION])
            return True
        case None:
            assert_type(state, None)
            return False
        case _:
            return state.is_known


# --- Exceptions ---


def handle_every_error(client: RestoreClient) -> Backup | None:
    try:
        return client.ensure_restored("backup-a2b3c4d5e6f")
    except NotRestorableError as error:
        assert_type(error.backup, Backup | None)
    except WaitTimeoutError as error:
        assert_type(error.backup, Backup | None)
    except UnexpectedResponseError as error:
        assert_type(error.response, object)
        assert_type(error.body, str | None)
    except (ConnectError, ConnectionLostError, ResponseTimeoutError) as error:
        assert_type(error, ConnectError | ConnectionLostError | ResponseTimeoutError)
    except TransportError as error:
        assert_type(error.retryable, bool)
    except AccessDeniedError as error:
        assert_type(error, AccessDeniedError)
    except (AuthenticationError, InvalidRequestError, ServiceError, TagError, ThrottlingError):
        pass
    except InternalFailureError as error:
        assert_type(error.attempts, int)
    except ApiError as error:
        assert_type(error.code, str)
        assert_type(error.message, str)
        assert_type(error.request_id, str | None)
        assert_type(error.http_status_code, int | None)
        assert_type(error.attempts, int)
        assert_type(error.codes, tuple[str, ...])
    except (ConfigurationError, ParameterError):
        pass
    except RestoreError as error:
        assert_type(error.operation, str | None)
        assert_type(error.backup_id, str | None)
        assert_type(error.retryable, bool)
        assert_type(error.outcome_unknown, bool)
        assert_type(error.backup, Backup | None)
        assert_type(error.advice, str)
        assert_type(str(error), str)
    return None


def builtin_exceptions(client: RestoreClient) -> None:
    with suppress(ValueError, ConnectionError, TimeoutError):
        client.restore_backup("backup-a2b3c4d5e6f")


is_a_value_error: ValueError = ParameterError("invalid ID")
is_a_connection_error: list[ConnectionError] = [ConnectError("no route"), ConnectionLostError("lost")]
is_a_timeout: list[TimeoutError] = [ResponseTimeoutError("late"), WaitTimeoutError("too late")]
is_a_restore_error: list[RestoreError] = [*[ParameterError("")], ConfigurationError(""), TransportError("")]
is_an_api_error: list[type[ApiError]] = [AccessDeniedError, ThrottlingError, TagError, ServiceError]

RestoreError(
    "what happened",
    operation="RestoreBackup",
    backup_id="backup-a2b3c4d5e6f",
    retryable=True,
    outcome_unknown=True,
    backup=backup,
)
UnexpectedResponseError("no backup", response={}, operation="RestoreBackup")
ThrottlingError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "RestoreBackup")


def unpack(results: Iterable[RestoreResult]) -> list[str]:
    def explain(error: RestoreError) -> str:
        match error:
            case ApiError(code=code):
                assert_type(code, str)
                return code
            case _:
                return "unknown" if error.outcome_unknown else "not restored"

    return [explain(result.error) for result in results if result.error]


# --- Subclassing ---


class AuditedClient(RestoreClient):
    """A subclass of the client."""

    @override
    def restore_backup(self, backup_id: str) -> Backup:
        backup = super().restore_backup(backup_id)
        assert_type(backup, Backup)
        return backup

    def itself(self) -> Self:
        return self


with AuditedClient(region_name="eu-central-1") as audited:
    assert_type(audited, AuditedClient)
    assert_type(audited.itself(), AuditedClient)


class PolicyError(RestoreError):
    """An application's subclass of RestoreError."""


assert_type(PolicyError("not on Sundays", backup_id="backup-a2b3c4d5e6f").backup_id, str | None)
