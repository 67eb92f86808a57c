"""ensure_restored and restore_backups on the wire: the backup is READY in the end, and the answer says so."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cloudhsm_restore import (
    AccessDeniedError,
    AuthenticationError,
    BackupState,
    ConnectError,
    InvalidRequestError,
    NotRestorableError,
    ParameterError,
    ResourceNotFoundError,
    RestoreError,
    RestoreResult,
    WaitTimeoutError,
)
from cloudhsm_restore._backoff import Throttle
from cloudhsm_restore._state_machine import Action, Step
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import config
from .conftest import MakeClient, connections

PENDING = BackupState.PENDING_DELETION


def operations(service: LocalCloudHsm) -> list[str]:
    """What the service was asked, in order."""
    return [request.operation for request in service.requests]


def pending(service: LocalCloudHsm, number: int) -> list[str]:
    """New backups that are pending deletion."""
    return [service.add_backup(backup_state=PENDING).backup_id for _ in range(number)]


# --- One ---


def test_one_call_when_all_goes_well(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """In the common case it is one RestoreBackup call."""
    [backup_id] = pending(service, 1)
    backup = make_client(service.endpoint_url).ensure_restored(backup_id)
    assert backup == service.backups[backup_id]
    assert backup.backup_state is BackupState.READY
    assert operations(service) == ["RestoreBackup"]


def test_it_is_idempotent(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Called again, it finds the backup READY and returns it."""
    [backup_id] = pending(service, 1)
    client = make_client(service.endpoint_url)
    assert client.ensure_restored(backup_id) == client.ensure_restored(backup_id)
    assert operations(service) == ["RestoreBackup", "RestoreBackup", "DescribeBackups"]


PASSING = set(Fault) - {
    Fault.CONNECTION_REFUSED,
    Fault.ACCESS_DENIED,
    Fault.EXPIRED_CREDENTIALS,
    Fault.PURGED_MEANWHILE,
}


@pytest.mark.parametrize("fault", sorted(PASSING))
@pytest.mark.parametrize("attempts", [1, 2])
def test_faults_that_pass(
    service: LocalCloudHsm, make_client: MakeClient, fault: Fault, attempts: int
) -> None:
    """Whatever happens to the first request, and with or without boto3's own retry, the backup is READY."""
    [backup_id] = pending(service, 1)
    service.inject(fault, "RestoreBackup", seconds=0.6)
    retries = {"total_max_attempts": attempts, "mode": "standard"}
    client = make_client(service.endpoint_url, read_timeout=0.3, retries=retries)
    assert client.ensure_restored(backup_id).backup_state is BackupState.READY
    assert service.backups[backup_id].backup_state is BackupState.READY


@pytest.mark.parametrize("fault", sorted(PASSING - {Fault.STALE, Fault.NO_STATE, Fault.UNKNOWN_STATE}))
def test_faults_while_asking(service: LocalCloudHsm, make_client: MakeClient, fault: Fault) -> None:
    """What happens to DescribeBackups while a doubt is being settled is waited out."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(fault, "DescribeBackups", times=2, seconds=0.6)
    client = make_client(service.endpoint_url, read_timeout=0.3)
    assert client.ensure_restored(backup_id).backup_state is BackupState.READY
    assert service.backups[backup_id].backup_state is BackupState.READY


def test_a_stale_answer(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """DescribeBackups that still shows PENDING_DELETION leads to another RestoreBackup, not to a lie."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.STALE, "DescribeBackups")
    assert make_client(service.endpoint_url).ensure_restored(backup_id).backup_state is BackupState.READY
    assert operations(service) == ["RestoreBackup", "DescribeBackups", "RestoreBackup", "DescribeBackups"]


@pytest.mark.parametrize(
    ("fault", "cls"),
    [(Fault.ACCESS_DENIED, AccessDeniedError), (Fault.EXPIRED_CREDENTIALS, AuthenticationError)],
)
def test_refusals_are_raised_at_once(
    service: LocalCloudHsm, make_client: MakeClient, fault: Fault, cls: type[RestoreError]
) -> None:
    """A caller who is not allowed hears so after one request, without doubt."""
    [backup_id] = pending(service, 1)
    service.inject(fault, "RestoreBackup")
    with pytest.raises(cls) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert not caught.value.outcome_unknown
    assert len(service.requests) == 1


def test_credentials_that_expire_half_way(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Where the answer was lost and asking is refused, the refusal says that the outcome is unknown."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.EXPIRED_CREDENTIALS, "DescribeBackups")
    with pytest.raises(AuthenticationError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert caught.value.outcome_unknown
    assert caught.value.operation == "DescribeBackups"
    assert "may have been restored anyway" in str(caught.value)


def test_nobody_listens(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A refused connection is raised at once, and can be retried."""
    [backup_id] = pending(service, 1)
    service.refuse()
    with pytest.raises(ConnectError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert not caught.value.outcome_unknown
    assert caught.value.retryable


def test_lost_and_then_nobody_listens(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An answer lost and nobody to ask until the timeout: that is what nobody can know, and it says so."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK)
    service.inject(Fault.CONNECTION_REFUSED)
    with pytest.raises(WaitTimeoutError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id, timeout=60)
    assert caught.value.outcome_unknown
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value.__cause__, ConnectError)
    assert caught.value.backup is None
    assert service.backups[backup_id].backup_state is BackupState.READY


def test_deleted_for_good(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """After 7 days there is nothing to restore, and the error holds what is left to see."""
    [backup_id] = pending(service, 1)
    service.advance(timedelta(days=7))
    with pytest.raises(NotRestorableError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert caught.value.backup is not None
    assert caught.value.backup.backup_state is BackupState.DELETED
    assert not caught.value.outcome_unknown


def test_no_such_backup(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An unknown ID is a ResourceNotFoundError after one request."""
    with pytest.raises(ResourceNotFoundError):
        make_client(service.endpoint_url).ensure_restored("backup-nowhere")
    assert len(service.requests) == 1


def test_a_backup_in_the_making(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """CREATE_IN_PROGRESS is waited for until the timeout, and then shown."""
    backup_id = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    client = make_client(service.endpoint_url)
    with pytest.raises(WaitTimeoutError) as caught:
        client.ensure_restored(backup_id, timeout=100)
    assert caught.value.backup == service.backups[backup_id]
    assert "CREATE_IN_PROGRESS" in str(caught.value)
    asked = operations(service).count("DescribeBackups")
    assert 5 < asked < 60  # full jitter between half a second and twenty, for 100 seconds
    service.change_backup(backup_id, backup_state=BackupState.READY)
    assert client.ensure_restored(backup_id).backup_state is BackupState.READY


def test_never_expires(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """``never_expires=True`` exempts the backup after it was restored, unless it is exempt already."""
    [backup_id] = pending(service, 1)
    client = make_client(service.endpoint_url)
    assert client.ensure_restored(backup_id, never_expires=True).never_expires is True
    assert service.backups[backup_id].never_expires is True
    assert operations(service) == ["RestoreBackup", "ModifyBackupAttributes"]
    client.ensure_restored(backup_id, never_expires=True)
    assert operations(service)[2:] == ["RestoreBackup", "DescribeBackups"]
    assert client.ensure_restored(backup_id, never_expires=False).never_expires is False


def test_only_the_exemption_fails(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Then the error carries the restored backup and says that it is restored."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.ACCESS_DENIED, "ModifyBackupAttributes")
    with pytest.raises(AccessDeniedError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id, never_expires=True)
    assert caught.value.backup is not None
    assert caught.value.backup.backup_state is BackupState.READY
    assert caught.value.operation == "ModifyBackupAttributes"
    assert "The backup is restored (READY)." in str(caught.value)
    assert "cloudhsm:ModifyBackupAttributes" in str(caught.value)


def test_a_settled_doubt_is_a_warning(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which backup was in doubt, why, and what DescribeBackups said."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    make_client(service.endpoint_url).ensure_restored(backup_id)
    [record] = [record for record in caplog.records if record.name == "cloudhsm_restore"]
    assert record.levelno == logging.WARNING
    assert vars(record)["cloudhsm_backup_id"] == backup_id
    assert vars(record)["cloudhsm_backup_state"] == "READY"
    for said in (backup_id, "ConnectionLostError", "READY"):
        assert said in record.getMessage()


@pytest.mark.parametrize(
    "options",
    [{"timeout": -1}, {"timeout": float("nan")}, {"timeout": "5"}, {"timeout": None}, {"timeout": True},
     {"timeout": 10**400},
     {"never_expires": "yes"}, {"never_expires": 1}],
)  # fmt: skip
def test_options_that_cannot_be_used(
    service: LocalCloudHsm, make_client: MakeClient, options: dict[str, Any]
) -> None:
    """A wrong option is a ParameterError at once, before anything is sent."""
    [backup_id] = pending(service, 1)
    client = make_client(service.endpoint_url)
    with pytest.raises(ParameterError, match=next(iter(options))):
        client.ensure_restored(backup_id, **options)
    with pytest.raises(ParameterError, match=next(iter(options))):
        client.restore_backups([backup_id], **options)
    assert service.requests == ()


def test_time_is_not_spent_for_nothing(service: LocalCloudHsm) -> None:
    """By the real clock, settling one doubt and waiting out one throttling is a matter of moments."""
    client = service.client(config(retries={"total_max_attempts": 1}))
    first, second = pending(service, 2)
    service.inject(Fault.EMPTY_BODY, "RestoreBackup")
    began = time.monotonic()
    client.ensure_restored(first)
    assert operations(service) == ["RestoreBackup", "DescribeBackups"]
    service.inject(Fault.THROTTLED, "RestoreBackup")
    client.ensure_restored(second)
    assert time.monotonic() - began < 5  # generous: only a hang would exceed it
    client._client.close()


# --- Many ---


def close(results: Any) -> None:
    """Close the iterator of results, which has a ``close`` because it is a generator."""
    results.close()


def test_every_input_has_one_result(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Bad IDs, unknown ones and repeated ones have a result each, and stop nobody else."""
    good = pending(service, 30)
    wrong: list[Any] = ["", None, 5, "backup-nowhere", "arn:aws:cloudhsm:::backup/x"]
    ids = [*good, *wrong, *good[:3]]
    results = list(make_client(service.endpoint_url).restore_backups(ids))
    assert sorted(str(result.backup_id) for result in results) == sorted(map(str, ids))
    assert [result.ok for result in results].count(True) == 33
    for result in results:
        assert (result.backup is None) is not (result.error is None)
        if result.ok:
            assert result.unwrap().backup_id == result.backup_id
        else:
            assert isinstance(result.error, ParameterError | ResourceNotFoundError)
    assert all(service.backups[backup_id].backup_state is BackupState.READY for backup_id in good)


def test_results_come_as_they_finish(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """One that is slow does not hold up the others."""
    slow = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    others = pending(service, 9)
    client = make_client(service.endpoint_url)
    results = client.restore_backups([slow, *others], max_workers=2, timeout=1e9)
    assert {next(results).backup_id for _ in others} == set(others)
    service.change_backup(slow, backup_state=BackupState.READY)
    assert [(result.backup_id, result.ok) for result in results] == [(slow, True)]


def test_nothing_in_nothing_out(make_client: MakeClient, service: LocalCloudHsm) -> None:
    """No IDs, no results, no requests, no threads."""
    assert list(make_client(service.endpoint_url).restore_backups([])) == []
    assert service.requests == ()
    assert no_workers()


def test_ids_are_taken_while_results_are(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A generator is read only a little ahead of the results: memory is bounded, whatever its length."""
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"backup-{taken}"

    results = make_client(service.endpoint_url).restore_backups(endless(), max_workers=4)
    assert taken == 0
    for received in range(1, 100):
        next(results)
        assert taken <= received + 8
    close(results)


def no_workers() -> bool:
    """Return whether no thread of the library is left, once the requests in flight have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("cloudhsm-restore"):
            thread.join(timeout=30)
    return not any(thread.name.startswith("cloudhsm-restore") for thread in threading.enumerate())


def test_leaving_early(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Closing the iterator begins nothing new, and leaves no thread behind, not even one that sleeps."""
    ids = pending(service, 100)
    service.inject(Fault.THROTTLED, times=100)
    client = make_client(service.endpoint_url)
    results = client.restore_backups(iter([*ids, "backup-nowhere"]), max_workers=4)
    next(results)
    close(results)
    assert no_workers()
    # What was cancelled in flight may still reach the service, one request for each worker, and no more.
    asked = len(service.requests)
    time.sleep(0.05)
    assert len(service.requests) <= asked + 4


def test_leaving_wakes_those_who_wait(service: LocalCloudHsm) -> None:
    """Whoever waits for a backup is woken when the iterator is closed: it does not take minutes."""
    client = service.client()
    slow = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    results = client.restore_backups([slow, *pending(service, 1)], max_workers=2, timeout=600)
    assert next(results).ok
    began = time.monotonic()
    close(results)
    assert no_workers()
    assert time.monotonic() - began < 10  # generous: the wait itself would be longer in the end
    client._client.close()


def test_the_callers_own_generator_fails(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Its exception reaches the caller as it is, and no thread stays behind."""

    def broken() -> Iterator[str]:
        yield from pending(service, 3)
        raise ZeroDivisionError

    results = make_client(service.endpoint_url).restore_backups(broken(), max_workers=2)
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert no_workers()


def test_an_interrupt(service: LocalCloudHsm, make_blocking_client: MakeClient) -> None:
    """KeyboardInterrupt in the caller's loop ends the workers too."""

    def interrupted() -> Iterator[str]:
        yield from pending(service, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(make_blocking_client(service.endpoint_url).restore_backups(interrupted()))
    assert no_workers()


def test_a_bug_reaches_the_caller(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """What is no RestoreError is not hidden in a result."""
    client = make_client(service.endpoint_url)

    def fail(**_: object) -> None:
        raise ZeroDivisionError

    client._client.meta.events.register("provide-client-params.cloudhsm-v2", fail)
    with pytest.raises(ZeroDivisionError):
        list(client.restore_backups(pending(service, 5)))
    assert no_workers()


def test_no_more_workers_than_connections(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """There are never more calls at a time than the client's pool has connections."""
    client = make_client(service.endpoint_url, max_pool_connections=3)
    most = 0
    for _ in client.restore_backups(pending(service, 60), max_workers=50):
        most = max(most, connections(service))
    assert 1 <= most <= 3


def test_when_one_is_throttled_the_others_wait_too() -> None:
    """The backoff is shared: a restore that was not throttled waits for the same time, and a bit more."""
    now = 0.0
    throttle = Throttle(jitter=lambda low, high: high)
    first = Step(Action.RESTORE)
    waits = throttle.delays(Step(Action.RESTORE, wait=10.0, throttled=True), lambda: now, lambda: 300.0)
    assert next(waits) == 10.0
    now = 4.0
    assert next(throttle.delays(first, lambda: now, lambda: 300.0)) == 9.0
    assert next(throttle.delays(first, lambda: now, lambda: 1.0)) == 1.0, "not beyond its own deadline"
    now = 10.0
    assert [*throttle.delays(first, lambda: now, lambda: 300.0)] == []


@pytest.mark.parametrize("max_workers", [0, -1, 1.5, "8", None, True])
def test_workers_that_cannot_be(make_client: MakeClient, service: LocalCloudHsm, max_workers: Any) -> None:
    """A number of workers that is none is a ParameterError at once."""
    with pytest.raises(ParameterError, match="max_workers"):
        make_client(service.endpoint_url).restore_backups(["backup-1"], max_workers=max_workers)


@pytest.mark.parametrize("ids", ["backup-1", b"backup-1", None, 5])
def test_one_id_is_not_several(make_client: MakeClient, service: LocalCloudHsm, ids: Any) -> None:
    """A string in place of a list is a ParameterError, and not one restore per letter."""
    with pytest.raises(ParameterError, match="backup_ids"):
        make_client(service.endpoint_url).restore_backups(ids)


def test_results_are_typed(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A failed result raises its error when it is unwrapped."""
    [result] = make_client(service.endpoint_url).restore_backups(["backup-nowhere"])
    assert isinstance(result, RestoreResult)
    with pytest.raises(ResourceNotFoundError):
        result.unwrap()
    backup = service.add_backup()
    [result] = make_client(service.endpoint_url).restore_backups([backup.backup_id])
    assert result.unwrap() == backup
    with pytest.raises(InvalidRequestError):
        make_client(service.endpoint_url).restore_backup(backup.backup_id)
