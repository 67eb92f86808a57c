"""ensure_restored and restore_backups on the wire: the backup is READY in the end, and the report is true."""

import inspect
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cloudhsm_restore import (
    AccessDeniedError,
    ApiError,
    AuthenticationError,
    BackupState,
    ConnectError,
    InvalidRequestError,
    NotRestorableError,
    ParameterError,
    ResourceNotFoundError,
    RestoreClient,
    RestoreError,
    RestoreResult,
    WaitTimeoutError,
)
from cloudhsm_restore._backoff import Stopwatch, Throttle
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import config
from .conftest import MakeClient, connections
from .raw_server import BACKUP_ID, DROP, RawServer, http, wire_backup

PENDING = BackupState.PENDING_DELETION


def operations(service: LocalCloudHsm) -> list[str]:
    """Return the operations that the service received, in order."""
    return [request.operation for request in service.requests]


def pending(service: LocalCloudHsm, number: int) -> list[str]:
    """Add backups that are pending deletion, and return their IDs."""
    return [service.add_backup(backup_state=PENDING).backup_id for _ in range(number)]


# --- ensure_restored ---


def test_the_common_case_is_one_request(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Without a fault, ``ensure_restored`` sends one RestoreBackup request."""
    [backup_id] = pending(service, 1)
    backup = make_client(service.endpoint_url).ensure_restored(backup_id)
    assert backup == service.backups[backup_id]
    assert backup.backup_state is BackupState.READY
    assert operations(service) == ["RestoreBackup"]


def test_ensure_restored_is_idempotent(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """The second call describes the backup, which is READY, and returns it."""
    [backup_id] = pending(service, 1)
    client = make_client(service.endpoint_url)
    assert client.ensure_restored(backup_id) == client.ensure_restored(backup_id)
    assert operations(service) == ["RestoreBackup", "RestoreBackup", "DescribeBackups"]


TRANSIENT = set(Fault) - {
    Fault.CONNECTION_REFUSED,
    Fault.ACCESS_DENIED,
    Fault.EXPIRED_CREDENTIALS,
    Fault.PURGED_MEANWHILE,
}


@pytest.mark.parametrize("fault", sorted(TRANSIENT))
@pytest.mark.parametrize("attempts", [1, 2])
def test_transient_faults_are_retried(
    service: LocalCloudHsm, make_client: MakeClient, fault: Fault, attempts: int
) -> None:
    """After a transient fault the backup is READY, with and without boto3's own retry."""
    [backup_id] = pending(service, 1)
    service.inject(fault, "RestoreBackup", seconds=0.6)
    retries = {"total_max_attempts": attempts, "mode": "standard"}
    client = make_client(service.endpoint_url, read_timeout=0.3, retries=retries)
    assert client.ensure_restored(backup_id).backup_state is BackupState.READY
    assert service.backups[backup_id].backup_state is BackupState.READY


WITHOUT_CODE = {
    Fault.FORBIDDEN_HTML,
    Fault.REQUEST_TIMEOUT_EMPTY,
    Fault.REDIRECT_BEFORE_WORK,
    Fault.REDIRECT_AFTER_WORK,
    Fault.REDIRECT_WITHOUT_LOCATION,
}
OF_A_RESTORE = {Fault.STALE, Fault.NO_STATE, Fault.UNKNOWN_STATE}


@pytest.mark.parametrize("fault", sorted(TRANSIENT - WITHOUT_CODE - OF_A_RESTORE))
def test_describe_is_retried(service: LocalCloudHsm, make_client: MakeClient, fault: Fault) -> None:
    """Transient faults of the DescribeBackups that resolves an unknown outcome are retried."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(fault, "DescribeBackups", times=2, seconds=0.6)
    client = make_client(service.endpoint_url, read_timeout=0.3)
    assert client.ensure_restored(backup_id).backup_state is BackupState.READY
    assert service.backups[backup_id].backup_state is BackupState.READY


@pytest.mark.parametrize("fault", sorted(WITHOUT_CODE))
def test_an_outcome_that_a_proxy_hides_is_unknown(
    service: LocalCloudHsm, make_client: MakeClient, fault: Fault
) -> None:
    """An HTTP error to DescribeBackups without an AWS code ends the restore, and its outcome is unknown."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(fault, "DescribeBackups", times=9)
    with pytest.raises(ApiError) as raised:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert raised.value.outcome_unknown


def test_a_stale_read_is_followed_by_another_restore(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """If DescribeBackups still shows PENDING_DELETION, RestoreBackup is called again."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.STALE, "DescribeBackups")
    assert make_client(service.endpoint_url).ensure_restored(backup_id).backup_state is BackupState.READY
    assert operations(service) == ["RestoreBackup", "DescribeBackups", "RestoreBackup", "DescribeBackups"]


@pytest.mark.parametrize(
    ("fault", "cls"),
    [(Fault.ACCESS_DENIED, AccessDeniedError), (Fault.EXPIRED_CREDENTIALS, AuthenticationError)],
)
def test_permanent_errors_are_raised_immediately(
    service: LocalCloudHsm, make_client: MakeClient, fault: Fault, cls: type[RestoreError]
) -> None:
    """Access denied and expired credentials are raised after one request, with a known outcome."""
    [backup_id] = pending(service, 1)
    service.inject(fault, "RestoreBackup")
    with pytest.raises(cls) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert not caught.value.outcome_unknown
    assert len(service.requests) == 1


def test_credentials_that_expire_before_the_outcome_is_resolved(
    service: LocalCloudHsm, make_client: MakeClient
) -> None:
    """If a response was lost and DescribeBackups is rejected, the outcome is unknown."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.EXPIRED_CREDENTIALS, "DescribeBackups")
    with pytest.raises(AuthenticationError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert caught.value.outcome_unknown
    assert caught.value.operation == "DescribeBackups"
    assert "may have been restored anyway" in str(caught.value)


def test_a_refused_connection_is_raised_immediately(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A refused connection is raised immediately, and is retryable."""
    [backup_id] = pending(service, 1)
    service.refuse()
    with pytest.raises(ConnectError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert not caught.value.outcome_unknown
    assert caught.value.retryable


def test_a_lost_response_and_then_a_refused_connection(
    service: LocalCloudHsm, make_client: MakeClient
) -> None:
    """If a response is lost and the service is down until the timeout, the outcome is unknown."""
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


def test_a_permanently_deleted_backup(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """After 7 days the backup is not restorable, and the error carries what is left of it."""
    [backup_id] = pending(service, 1)
    service.advance(timedelta(days=7))
    with pytest.raises(NotRestorableError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id)
    assert caught.value.backup is not None
    assert caught.value.backup.backup_state is BackupState.DELETED
    assert not caught.value.outcome_unknown


def test_an_unknown_id(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An unknown ID is a ResourceNotFoundError after one request."""
    with pytest.raises(ResourceNotFoundError):
        make_client(service.endpoint_url).ensure_restored("backup-nowhere")
    assert len(service.requests) == 1


def test_create_in_progress_is_polled(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A backup in CREATE_IN_PROGRESS is polled until the timeout, and the error carries it."""
    backup_id = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    client = make_client(service.endpoint_url)
    with pytest.raises(WaitTimeoutError) as caught:
        client.ensure_restored(backup_id, timeout=100)
    assert caught.value.backup == service.backups[backup_id]
    assert "CREATE_IN_PROGRESS" in str(caught.value)
    polls = operations(service).count("DescribeBackups")
    assert 5 < polls < 60  # Full jitter, with a ceiling from 0.5 to 20 seconds, over 100 seconds.
    service.change_backup(backup_id, backup_state=BackupState.READY)
    assert client.ensure_restored(backup_id).backup_state is BackupState.READY


def test_never_expires_exempts_the_backup(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """``never_expires=True`` exempts the restored backup from the retention policy, unless it is exempt."""
    [backup_id] = pending(service, 1)
    client = make_client(service.endpoint_url)
    assert client.ensure_restored(backup_id, never_expires=True).never_expires is True
    assert service.backups[backup_id].never_expires is True
    assert operations(service) == ["RestoreBackup", "ModifyBackupAttributes"]
    client.ensure_restored(backup_id, never_expires=True)
    assert operations(service)[2:] == ["RestoreBackup", "DescribeBackups"]
    assert client.ensure_restored(backup_id, never_expires=False).never_expires is False


def test_an_exemption_is_no_restore_in_the_log(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one record for a backup that is restored and exempted."""
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    make_client(service.endpoint_url).ensure_restored(*pending(service, 1), never_expires=True)
    logged = [
        vars(record)["cloudhsm_operation"] for record in caplog.records if record.name == "cloudhsm_restore"
    ]
    assert logged == ["RestoreBackup"]


def test_a_rejected_exemption_carries_the_restored_backup(
    service: LocalCloudHsm, make_client: MakeClient
) -> None:
    """If only the exemption fails, the error carries the restored backup, and its message reports it."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.ACCESS_DENIED, "ModifyBackupAttributes")
    with pytest.raises(AccessDeniedError) as caught:
        make_client(service.endpoint_url).ensure_restored(backup_id, never_expires=True)
    assert caught.value.backup is not None
    assert caught.value.backup.backup_state is BackupState.READY
    assert caught.value.operation == "ModifyBackupAttributes"
    assert "The backup is restored (READY)." in str(caught.value)
    assert "cloudhsm:ModifyBackupAttributes" in str(caught.value)


def test_a_resolved_outcome_is_a_warning(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the backup, the error that made its outcome unknown, and the state that resolved it."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    make_client(service.endpoint_url).ensure_restored(backup_id)
    [record] = [record for record in caplog.records if record.name == "cloudhsm_restore"]
    assert record.levelno == logging.WARNING
    assert vars(record)["cloudhsm_backup_id"] == backup_id
    assert vars(record)["cloudhsm_backup_state"] == "READY"
    for part in (backup_id, "ConnectionLostError", "READY"):
        assert part in record.getMessage()


def test_the_next_page_is_read_until_the_deadline(raw_server: RawServer, make_client: MakeClient) -> None:
    """As long as there is time, a restore looks for its backup on the next page."""
    pages = http({"Backups": [], "NextToken": "next"}), http({"Backups": [wire_backup()]})
    client: Any = make_client(raw_server.respond(DROP, *pages))
    assert client.ensure_restored(BACKUP_ID, timeout=0.9).backup_state is BackupState.READY
    assert client.waits == []


def test_a_wait_takes_its_time(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is not one of the tests really waits before it sends the request again."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.THROTTLED, "RestoreBackup")
    monkeypatch.setattr("random.random", lambda: 0.5)
    with service.client(config()) as client:
        began = time.monotonic()
        client.ensure_restored(backup_id)
        assert time.monotonic() - began >= 0.25


def test_each_wait_is_logged(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the cause of each wait, its seconds, the time left, and the attempt that follows."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.THROTTLED, "RestoreBackup", 2)
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    client: Any = make_client(service.endpoint_url)
    client.ensure_restored(backup_id, timeout=60)
    waits = [record for record in caplog.records if "cloudhsm_wait_seconds" in vars(record)]
    assert [vars(record)["cloudhsm_wait_seconds"] for record in waits] == client.waits
    assert {vars(record)["cloudhsm_wait_cause"] for record in waits} == {"throttled"}
    assert sorted({vars(record)["cloudhsm_attempt"] for record in waits}) == [2, 3]
    assert vars(waits[0])["cloudhsm_time_left"] == pytest.approx(60, abs=5)
    assert "throttled; attempt 2 (RestoreBackup) in 0." in waits[0].getMessage()
    # A format can name any of these for each record.
    assert vars(waits[0])["cloudhsm_request_id"] is vars(waits[0])["cloudhsm_backup_state"] is None


@pytest.mark.parametrize(
    "options",
    [{"timeout": -1}, {"timeout": float("nan")}, {"timeout": "5"}, {"timeout": None}, {"timeout": True},
     {"timeout": 10**400},
     {"never_expires": "yes"}, {"never_expires": 1}],
)  # fmt: skip
def test_invalid_options(service: LocalCloudHsm, make_client: MakeClient, options: dict[str, Any]) -> None:
    """An invalid option is a ParameterError, and nothing is sent."""
    [backup_id] = pending(service, 1)
    client = make_client(service.endpoint_url)
    with pytest.raises(ParameterError, match=next(iter(options))):
        client.ensure_restored(backup_id, **options)
    with pytest.raises(ParameterError, match=next(iter(options))):
        client.restore_backups([backup_id], **options)
    assert service.requests == ()


def test_an_option_that_python_cannot_show(make_blocking_client: MakeClient, service: LocalCloudHsm) -> None:
    """An integer with more digits than Python converts is shown as its type."""
    with pytest.raises(ParameterError, match="timeout must be a number of seconds, 0 or more, not int"):
        make_blocking_client(service.endpoint_url).ensure_restored("backup-1", timeout=10**5000)


@pytest.mark.parametrize("operation", ["RestoreBackup", "ModifyBackupAttributes"])
def test_boto3_sends_no_retry_after_the_deadline(
    service: LocalCloudHsm, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """If the deadline passes while a request is in flight, boto3 does not send its own retries of it."""
    client = make_client(service.endpoint_url, retries={"total_max_attempts": 4, "mode": "standard"})
    [backup_id] = pending(service, 1)
    service.inject(Fault.THROTTLED, operation, times=9)

    def late(_: Stopwatch) -> float:
        return time.monotonic() + 301

    def pass_deadline(**_: object) -> None:
        monkeypatch.setattr(Stopwatch, "now", late)

    client._client.meta.events.register(f"before-send.cloudhsm-v2.{operation}", pass_deadline)
    with pytest.raises(WaitTimeoutError):
        client.ensure_restored(backup_id, never_expires=True)
    assert operations(service).count(operation) == 1


def test_resolving_and_backing_off_take_seconds(service: LocalCloudHsm) -> None:
    """By the real clock, one unknown outcome and one throttled request take less than 5 seconds."""
    client = service.client(config(retries={"total_max_attempts": 1}))
    first, second = pending(service, 2)
    service.inject(Fault.EMPTY_BODY, "RestoreBackup")
    began = time.monotonic()
    client.ensure_restored(first)
    assert operations(service) == ["RestoreBackup", "DescribeBackups"]
    service.inject(Fault.THROTTLED, "RestoreBackup")
    client.ensure_restored(second)
    assert time.monotonic() - began < 5  # Only a hang takes longer.
    client._client.close()


# --- restore_backups ---


def close(results: Any) -> None:
    """Close the iterator of results, which is a generator and so has a ``close``."""
    results.close()


def test_every_input_has_one_result(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Invalid, unknown, and repeated IDs have a result each, and the other backups are restored."""
    good = pending(service, 30)
    invalid: list[Any] = ["", None, 5, "backup-nowhere", "arn:aws:cloudhsm:::backup/x"]
    ids = [*good, *invalid, *good[:3]]
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


def test_results_are_in_order_of_completion(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """The results of other backups do not wait for a backup that is slow."""
    slow = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    fast = pending(service, 9)
    client = make_client(service.endpoint_url)
    results = client.restore_backups([slow, *fast], max_workers=2, timeout=1e9)
    assert {next(results).backup_id for _ in fast} == set(fast)
    service.change_backup(slow, backup_state=BackupState.READY)
    assert [(result.backup_id, result.ok) for result in results] == [(slow, True)]


def test_a_result_does_not_wait_for_further_ids(
    service: LocalCloudHsm, make_blocking_client: MakeClient
) -> None:
    """While a generator of IDs is slow, the results that are there are yielded."""
    ids = pending(service, 7)
    seen: list[str] = []
    seen_at_the_end: list[str] = []

    def source() -> Iterator[str]:
        for backup_id in ids:
            yield backup_id
            while service.backups[backup_id].backup_state is not BackupState.READY:
                time.sleep(0.01)
        seen_at_the_end.extend(seen)

    for result in make_blocking_client(service.endpoint_url).restore_backups(source(), max_workers=4):
        seen += [result.backup_id]
    assert seen_at_the_end
    assert sorted(seen) == sorted(ids)


def test_empty_input(make_client: MakeClient, service: LocalCloudHsm) -> None:
    """Without IDs there are no results, no requests, and no threads."""
    assert list(make_client(service.endpoint_url).restore_backups([])) == []
    assert service.requests == ()
    assert no_workers()


def test_ids_are_read_on_demand(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A generator of IDs is read at most 8 IDs ahead of the results, so memory is bounded."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"backup-{read}"

    results = make_client(service.endpoint_url).restore_backups(endless(), max_workers=4)
    assert read == 0
    for received in range(1, 100):
        next(results)
        assert read <= received + 8
    close(results)


def no_workers() -> bool:
    """Return whether no thread of the library is left, once the requests in flight have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("cloudhsm-restore"):
            thread.join(timeout=30)
    return not any(thread.name.startswith("cloudhsm-restore") for thread in threading.enumerate())


def test_closing_starts_no_new_restores(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing the iterator starts no new restore, and no thread is left, not even one that sleeps."""
    ids = pending(service, 100)
    service.inject(Fault.THROTTLED, times=100)
    client = make_client(service.endpoint_url)
    results = client.restore_backups(iter([*ids, "backup-nowhere"]), max_workers=4)
    next(results)
    close(results)
    assert no_workers()
    # Of each worker one request in flight may still reach the service.
    received = len(service.requests)
    time.sleep(0.05)
    assert len(service.requests) <= received + 4
    assert {record.name for record in caplog.records} <= {"cloudhsm_restore", "asyncio"}


def test_closing_wakes_sleeping_workers(service: LocalCloudHsm) -> None:
    """A worker that waits before the next poll is woken when the iterator is closed."""
    client = service.client()
    slow = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    results = client.restore_backups([slow, *pending(service, 1)], max_workers=2, timeout=600)
    assert next(results).ok
    began = time.monotonic()
    close(results)
    assert no_workers()
    assert time.monotonic() - began < 10  # The waits of 600 seconds of polling are longer.
    client._client.close()


def test_an_exception_of_the_iterable_propagates(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An exception of the caller's generator reaches the caller unchanged, and no thread is left."""

    def broken() -> Iterator[str]:
        yield from pending(service, 3)
        raise ZeroDivisionError

    results = make_client(service.endpoint_url).restore_backups(broken(), max_workers=2)
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert no_workers()


def test_an_interrupt_ends_the_workers(service: LocalCloudHsm, make_blocking_client: MakeClient) -> None:
    """KeyboardInterrupt in the caller's loop ends the workers."""

    def interrupted() -> Iterator[str]:
        yield from pending(service, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(make_blocking_client(service.endpoint_url).restore_backups(interrupted()))
    assert no_workers()


def test_every_backup_has_a_result_without_a_thread(
    service: LocalCloudHsm, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no thread can be started, each backup has an error that says so, and nothing is sent."""
    ids = pending(service, 20)
    client = make_client(service.endpoint_url)
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("cloudhsm-restore"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    results = list(client.restore_backups(ids, max_workers=2))
    assert sorted(result.backup_id for result in results) == sorted(ids)
    for result in results:
        assert result.error is not None
        assert "can't start new thread; nothing was sent" in str(result.error)
        assert result.error.retryable
        assert not result.error.outcome_unknown
    assert service.requests == ()


def test_a_bug_propagates(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An exception that is not a RestoreError propagates, and is not put into a result."""
    client = make_client(service.endpoint_url)

    def fail(**_: object) -> None:
        raise ZeroDivisionError

    client._client.meta.events.register("provide-client-params.cloudhsm-v2", fail)
    with pytest.raises(ZeroDivisionError):
        list(client.restore_backups(pending(service, 5)))
    assert no_workers()


@pytest.mark.parametrize("size", [1, 3])
def test_workers_are_limited_by_the_connection_pool(
    service: LocalCloudHsm, make_client: MakeClient, size: int
) -> None:
    """At most as many requests are in flight as the client's pool has connections."""
    client = make_client(service.endpoint_url, max_pool_connections=size)
    most = 0
    for _ in client.restore_backups(pending(service, 60), max_workers=50):
        most = max(most, connections(service))
    assert 1 <= most <= size


def test_a_wait_that_takes_too_long_is_followed_by_nothing(
    service: LocalCloudHsm, make_client: MakeClient
) -> None:
    """If a wait ends after the deadline, because the machine was suspended, nothing more is sent."""
    client: Any = make_client(service.endpoint_url)
    sync = getattr(client, "_async", client)
    getattr(sync, "_sync", sync).on_wait = lambda: time.sleep(0.4)
    service.inject(Fault.THROTTLED, "RestoreBackup")
    with pytest.raises(WaitTimeoutError):
        client.ensure_restored(*pending(service, 1), timeout=0.3)
    assert len(service.requests) == 1


def test_a_wait_is_taken_however_short_it_is() -> None:
    """The first backoff is below half a second. Without it, a client would add to the load at once."""
    assert [*Throttle().delays(0.01, lambda: 300.0)] == [0.01]


@pytest.mark.parametrize(("polls", "sent"), [(0, 1 + 2), (1, 1 + 1)])
def test_boto3_retries_after_the_deadline_only_what_resolves_an_outcome(
    service: LocalCloudHsm, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, polls: int, sent: int
) -> None:
    """After the deadline, boto3 retries the DescribeBackups that resolves RestoreBackup, and no other."""
    client = make_client(service.endpoint_url, retries={"total_max_attempts": 3, "mode": "standard"})
    backup_id = service.add_backup(backup_state=BackupState.CREATE_IN_PROGRESS).backup_id
    described: list[str] = []

    def late(_: Stopwatch) -> float:
        return time.monotonic() + 301

    def pass_deadline(**_: object) -> None:
        described.append(backup_id)
        if len(described) == 1 + polls:
            monkeypatch.setattr(Stopwatch, "now", late)
            service.inject(Fault.THROTTLED, "DescribeBackups", times=9)

    client._client.meta.events.register("before-send.cloudhsm-v2.DescribeBackups", pass_deadline)
    with pytest.raises(WaitTimeoutError):
        client.ensure_restored(backup_id)
    assert operations(service).count("DescribeBackups") == sent


@pytest.mark.parametrize("max_workers", [0, -1, 1.5, "8", None, True])
def test_invalid_max_workers(make_client: MakeClient, service: LocalCloudHsm, max_workers: Any) -> None:
    """``max_workers`` has to be a positive integer."""
    with pytest.raises(ParameterError, match="max_workers"):
        make_client(service.endpoint_url).restore_backups(["backup-1"], max_workers=max_workers)


@pytest.mark.parametrize("ids", ["backup-1", b"backup-1", None, 5])
def test_a_string_is_not_a_list_of_ids(make_client: MakeClient, service: LocalCloudHsm, ids: Any) -> None:
    """A string in place of an iterable of IDs is a ParameterError, not one restore per letter."""
    with pytest.raises(ParameterError, match="backup_ids"):
        make_client(service.endpoint_url).restore_backups(ids)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Without a timeout a restore takes at most five minutes, and without a number eight run at a time."""
    parameters = inspect.signature(RestoreClient.restore_backups).parameters
    assert parameters["timeout"].default == 300
    assert parameters["max_workers"].default == 8
    assert inspect.signature(RestoreClient.ensure_restored).parameters["timeout"].default == 300


def test_unwrap_returns_the_backup_or_raises(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """``unwrap`` returns the backup of a result, or raises its error."""
    [result] = make_client(service.endpoint_url).restore_backups(["backup-nowhere"])
    assert isinstance(result, RestoreResult)
    with pytest.raises(ResourceNotFoundError):
        result.unwrap()
    backup = service.add_backup()
    [result] = make_client(service.endpoint_url).restore_backups([backup.backup_id])
    assert result.unwrap() == backup
    with pytest.raises(InvalidRequestError):
        make_client(service.endpoint_url).restore_backup(backup.backup_id)
