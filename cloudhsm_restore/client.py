"""The synchronous client. It calls CloudHSM V2 through boto3 and returns `Backup` models."""

import logging
import random
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, overload

from ._backoff import UNLIMITED, Limits, Stopwatch, Throttle
from ._call import Call, Operation, Response, cancellation
from ._events import add_user_agent, register_handlers
from ._log import log, state_name
from ._redaction import url_secrets
from ._state_machine import Action, RestoreStateMachine, Step
from ._threads import CallThreads
from ._validation import (
    DEFAULT_MAX_WORKERS,
    DEFAULT_TIMEOUT,
    AnyClient,
    check_backup_id,
    check_batch,
    check_client,
    check_options,
    check_session,
    connection_limit,
    describe_requests,
    endpoint_problem,
)
from .exceptions import ConfigurationError, RestoreError
from .models import Backup, BackupState, RestoreResult

if TYPE_CHECKING:
    import asyncio

    import boto3
    from botocore.config import Config
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

__all__ = ["RestoreClient"]

_MAX_EMPTY_PAGES = 100
"""How many pages of DescribeBackups in a row may lack what is looked for. A page has up to 50 backups."""


class ClientBase:
    """How both clients get their boto3 client."""

    @overload
    def __init__(self, client: "CloudHSMV2Client | AnyClient") -> None: ...

    @overload
    def __init__(
        self,
        client: None = None,
        *,
        session: "boto3.Session | None" = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        config: "Config | None" = None,
    ) -> None: ...

    def __init__(
        self,
        client: "CloudHSMV2Client | AnyClient | None" = None,
        *,
        session: "boto3.Session | None" = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        config: "Config | None" = None,
    ) -> None:
        """Wrap a boto3 client, or create one.

        Args:
            client: a boto3 ``cloudhsmv2`` client, whichever package types it. You close it. No other argument
                can be passed with it.
            session: the session to create a client from. Default: boto3's default session.
            region_name: the AWS Region. Default: the session's.
            endpoint_url: the endpoint. Default: from the environment or the profile, or AWS's own.
            config: botocore's ``Config``, for retries, timeouts, proxies, and the size of the connection
                pool.

        Raises:
            ConfigurationError: no client can be created: no region, an unknown profile, an invalid endpoint.
            TypeError: ``client`` was passed together with another argument, or is not a ``cloudhsmv2``
                client; ``session`` is not a session.
        """
        try:
            if client is None:
                self._client = _create_client(session, region_name, endpoint_url, config)
            else:
                self._client = check_client(client, session, region_name, endpoint_url, config)
        finally:
            del endpoint_url  # Its password would be among the local variables of a traceback.
        self._owns_client = client is None
        # boto3 has read the endpoint and the proxies by now, too.
        self._url_secrets = frozenset(url_secrets(self._client))
        self._set_up()

    def _set_up(self) -> None:
        """Prepare what a client needs besides; called once by the constructor."""

    def _close_client(self) -> None:
        if self._owns_client:
            self._client.close()


class RestoreClient(ClientBase):
    """Restores CloudHSM backups that are pending deletion, through boto3.

    ``RestoreClient()`` finds credentials, profile, region, endpoint, proxies, retries, and timeouts as boto3
    does. It is stateless, and threads can share it.
    """

    def restore_backup(self, backup_id: str) -> Backup:
        """Call RestoreBackup once, with boto3's retries.

        RestoreBackup moves a backup from PENDING_DELETION to READY. It is not idempotent: if the backup is
        already READY, it raises ``InvalidRequestError``. Use `ensure_restored` for an idempotent restore.

        Permission: ``cloudhsm:RestoreBackup``.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Returns:
            The backup as the service describes it.

        Raises:
            ParameterError: ``backup_id`` is invalid.
            ConfigurationError: there are no usable credentials, or the endpoint or config cannot be used.
            TransportError: no usable response was received.
            UnexpectedResponseError: the response cannot be used.
            ApiError: the service returned an error. Check ``outcome_unknown`` on all of them.
        """
        return self._restore_backup(backup_id).backup

    def get_backup(self, backup_id: str) -> Backup:
        """Describe one backup, in whatever state it is: DescribeBackups with its ID.

        Permission: ``cloudhsm:DescribeBackups``.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Raises:
            ResourceNotFoundError: this account and region do not have the backup.
            RestoreError: as for `restore_backup`.
        """
        return self._describe_backup(backup_id).backup

    def describe_backups(
        self,
        *,
        states: Iterable[BackupState | str] = (),
        cluster_ids: Iterable[str] = (),
        backup_ids: Iterable[str] = (),
        source_backup_ids: Iterable[str] = (),
        never_expires: bool | None = None,
    ) -> Generator[Backup, None, None]:
        """List backups. Pages are fetched as you iterate, and empty filters are ignored.

        The service honors only one state per request, so each state is listed separately; a backup whose
        state changes during the listing may appear twice or not at all.

        Permission: ``cloudhsm:DescribeBackups``.

        Args:
            states: only backups in these states. An unknown string raises ``ParameterError``, because it
                would match nothing; for a state that AWS added later, pass ``BackupState("...")``.
            cluster_ids: only backups of these clusters.
            backup_ids: only these backups. One that does not exist is left out.
            source_backup_ids: only copies of these backups.
            never_expires: only backups that are exempt from the retention policy, or only those that are not.

        Raises:
            ParameterError: an argument is invalid; raised immediately.
            RestoreError: as for `restore_backup`, while iterating.
        """
        pages = self._iter_pages(
            describe_requests(states, cluster_ids, backup_ids, source_backup_ids, never_expires)
        )
        return (response.backup for page in pages for response in page)

    def ensure_restored(
        self, backup_id: str, *, never_expires: bool | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> Backup:
        """Restore a backup and return it once it is READY. Idempotent.

        Usually makes a single RestoreBackup call. If its outcome is unknown, or if it is rejected as invalid,
        DescribeBackups resolves it. Throttling, unknown outcomes, and CREATE_IN_PROGRESS are retried or
        polled with exponential backoff and full jitter, until ``timeout``. Each wait is logged before it
        begins.

        Permissions: ``cloudhsm:RestoreBackup``, ``cloudhsm:DescribeBackups``, and, for ``never_expires``,
        ``cloudhsm:ModifyBackupAttributes``.

        Args:
            backup_id: the ID of the backup, not its ARN.
            never_expires: True exempts the backup from its cluster's retention policy after the restore,
                False removes the exemption, and None leaves it unchanged. The policy deletes a restored
                backup again that is older than it allows, unless it is exempt (AWS CloudHSM user guide,
                "Configure backup retention").
            timeout: how long to keep retrying, in seconds. After it, only the DescribeBackups call is sent
                that resolves the last attempt. A call in flight is bounded by boto3's timeouts, which count
                from read to read: boto3 cannot bound a server that sends one byte a second. In boto3's retry
                mode ``adaptive``, boto3 may hold a call back beyond the deadline before it sends it.

        Returns:
            The backup, which is READY.

        Raises:
            NotRestorableError: the backup is DELETED or in an unknown state.
            ResourceNotFoundError: this account and region do not have the backup.
            WaitTimeoutError: the backup was not READY before ``timeout``; ``backup`` holds the last known
                state.
            AccessDeniedError, AuthenticationError, ConfigurationError, ParameterError, ConnectError: raised
                immediately, without retries; the first two have ``outcome_unknown`` set if DescribeBackups
                was the call that failed.
            RestoreError: any other failure. If ``outcome_unknown`` is true, the outcome could not be
                resolved. If ``error.backup`` is READY, only the exemption from the retention policy failed.
        """
        check_options(never_expires, timeout)
        return self._ensure_restored(backup_id, never_expires, timeout, Throttle()).unwrap()

    def restore_backups(
        self,
        backup_ids: Iterable[str],
        *,
        never_expires: bool | None = None,
        max_workers: int = DEFAULT_MAX_WORKERS,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Generator[RestoreResult, None, None]:
        """Call `ensure_restored` for many backups concurrently, and yield a result for each as it completes.

        Restores start when you iterate::

            for result in client.restore_backups(backup_ids):
                print(result.backup_id, "restored" if result.ok else result.error)

        ``backup_ids`` can be an iterable of any length, including a generator; only restores in flight are
        held in memory. Every ID yields exactly one result, including invalid and repeated IDs. Once a request
        is throttled, all restores share a rate, which they learn from the responses. Closing the iterator
        (for example with ``contextlib.closing``), an interrupt, or an exception in ``backup_ids`` wakes the
        restores that wait, sends nothing new, and waits for the HTTP requests in flight; the log has the
        outcome of each backup whose result was not yielded.

        Permissions: as for `ensure_restored`.

        Args:
            backup_ids: IDs of backups. The iterable is read in the calling thread, while you iterate.
            never_expires: as for `ensure_restored`.
            max_workers: how many restores run at the same time, at most as many as the client's connection
                pool holds: 10 unless ``Config(max_pool_connections=...)`` says otherwise.
            timeout: seconds for each backup, from when its restore starts.

        Raises:
            ParameterError: an argument other than a single ID is invalid; raised immediately.
        """
        check_options(never_expires, timeout)
        check_batch(backup_ids, max_workers, Iterable)
        workers = min(max_workers, connection_limit(self._client))
        return self._iter_results(iter(backup_ids), never_expires, workers, timeout)

    def close(self) -> None:
        """Close the connections of a client that was created here. A client that was passed stays open."""
        self._close_client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self) -> None:
        if hasattr(self._client, "meta"):  # Test doubles may have no `meta`.
            register_handlers(self._client.meta.events)

    def _sleep(self, seconds: float, cancelled: threading.Event) -> None:
        """Wait, or return as soon as ``cancelled`` is set. Tests override this to wait in virtual time."""
        cancelled.wait(seconds)

    def _call(self, operation: Operation, backup_id: str | None, limits: Limits = UNLIMITED) -> Call:
        return Call(operation, backup_id, self._client, self._url_secrets, limits)

    def _restore_backup(self, backup_id: str, limits: Limits = UNLIMITED) -> Response:
        check_backup_id(backup_id, "RestoreBackup")
        with self._call("RestoreBackup", backup_id, limits) as call:
            return call.parse_backup(self._client.restore_backup(BackupId=backup_id))

    def _describe_backup(self, backup_id: str, limits: Limits = UNLIMITED) -> Response:
        """Find one backup. When no time is left, give up between two pages."""
        check_backup_id(backup_id, "DescribeBackups")
        others = 0
        call = self._call("DescribeBackups", backup_id)
        request = {"Filters": {"backupIds": [backup_id]}}
        for page in self._iter_pages([request], backup_id, limits):
            for response in page:
                if response.backup.backup_id == backup_id:
                    return response
            others += len(page)
        raise call.not_described(others)

    def _set_never_expires(self, backup_id: str, never_expires: bool, limits: Limits) -> Response:
        with self._call("ModifyBackupAttributes", backup_id, limits) as call:
            return call.parse_backup(
                self._client.modify_backup_attributes(BackupId=backup_id, NeverExpires=never_expires)
            )

    def _iter_pages(
        self,
        requests: list[dict[str, Any]],
        backup_id: str | None = None,
        limits: Limits = UNLIMITED,
    ) -> Generator[list[Response], None, None]:
        for request in requests:
            tokens: set[str] = set()
            fruitless = 0
            while True:
                with self._call("DescribeBackups", backup_id, limits) as call:
                    page, token = call.parse_page(self._client.describe_backups(**request), tokens)
                yield page
                if token is None:
                    break
                # A list that never ends has a new token each time. If one backup is looked for, no page with
                # it was enough; else a page with backups is progress, and the caller can stop.
                fruitless = fruitless + 1 if backup_id or not page else 0
                if fruitless >= _MAX_EMPTY_PAGES or limits.time_left() <= 0:
                    raise call.endless(fruitless)
                request["NextToken"] = token

    def _ensure_restored(
        self, backup_id: str, never_expires: bool | None, timeout: float, throttle: Throttle
    ) -> RestoreResult:
        check_backup_id(backup_id, "RestoreBackup")  # An invalid ID needs no turn.
        cancelled = cancellation.get() or threading.Event()
        stopwatch = Stopwatch()
        machine = RestoreStateMachine(
            backup_id, never_expires=never_expires, timeout=timeout, now=stopwatch.now(), random=random.random
        )
        step: Step | RestoreResult = machine.first

        def time_left() -> float:
            return machine.deadline - stopwatch.now()

        def wait(step: Step) -> bool:
            """Wait for the turn of a request; return whether it can be sent."""
            for seconds in throttle.delays(step.wait, time_left):
                _log_wait(backup_id, step, machine.attempts + 1, seconds, time_left())
                ends = [(clock, clock.now() + seconds) for clock in (stopwatch, throttle.clock)]
                self._sleep(seconds, cancelled)
                if cancelled.is_set():
                    break
                for clock, end in ends:
                    clock.advance_to(end)
                if time_left() <= 0 and not step.resolves:
                    return False
            return not cancelled.is_set()

        while not isinstance(step, RestoreResult):
            if not wait(step):
                raise machine.cancelled() if cancelled.is_set() else machine.timed_out()
            retry = partial(wait, step._replace(wait=0.0, cause="throttled"))
            limits = Limits(time_left, step.resolves, retry, throttle.learn)
            try:
                match step.action:
                    case Action.RESTORE:
                        outcome: Response | RestoreError = self._restore_backup(backup_id, limits)
                    case Action.DESCRIBE:
                        outcome = self._describe_backup(backup_id, limits)
                    case Action.EXEMPT:
                        outcome = self._set_never_expires(backup_id, bool(never_expires), limits)
            except RestoreError as error:
                outcome = error
            step = machine.advance(step, outcome, stopwatch.now())
        return step

    def _iter_results(
        self, backup_ids: Iterator[str], never_expires: bool | None, workers: int, timeout: float
    ) -> Generator[RestoreResult, None, None]:
        throttle, threads, cancelled = Throttle(), CallThreads(workers), threading.Event()
        finished: SimpleQueue[Future[RestoreResult]] = SimpleQueue()
        pending: dict[Future[RestoreResult], str] = {}

        def next_result() -> RestoreResult:
            future = finished.get()
            result = result_of(pending[future], future)
            # Last, so that an interrupt before it leaves the result for the log.
            del pending[future]
            return result

        try:
            for backup_id in backup_ids:
                restore = partial(self._ensure_restored, backup_id, never_expires, timeout, throttle)
                future: Future[RestoreResult] = Future()
                pending[future] = backup_id
                future.add_done_callback(finished.put)
                threads.submit(future, restore, cancelled)
                # As many again wait in the queue, so that no worker is idle while the caller handles a
                # result.
                while len(pending) >= 2 * workers or not finished.empty():
                    yield next_result()
            while pending:
                yield next_result()
        finally:
            cancelled.set()
            logged: SimpleQueue[Future[RestoreResult]] = SimpleQueue()
            for future, backup_id in pending.items():
                future.cancel()
                future.add_done_callback(partial(log_abandoned, backup_id))
                future.add_done_callback(logged.put)
            if threads.can_be_awaited():
                # Not `concurrent.futures.wait`, which returns before the callbacks of a future are called.
                for _ in pending:
                    logged.get()


def _log_wait(backup_id: str, step: Step, attempt: int, seconds: float, time_left: float) -> None:
    cause = step.cause or "another restore was throttled"
    log(
        logging.INFO,
        f"{cause}; attempt {attempt} ({step.action.value}) in {seconds:.1f} s, {time_left:.0f} s left",
        operation="RestoreBackup",
        backup_id=backup_id,
        attempt=attempt,
        wait_cause=cause,
        wait_seconds=seconds,
        time_left=time_left,
    )


def result_of(backup_id: str, restore: "Future[Any] | asyncio.Future[Any]") -> RestoreResult:
    """Return the result of a restore that has ended. A bug or a misused Stubber propagates to the caller."""
    error = restore.exception()
    return RestoreResult(backup_id, error=error) if isinstance(error, RestoreError) else restore.result()


def log_abandoned(backup_id: str, restore: Future[Any]) -> None:
    """Log what became of a restore whose result is not returned: the log is where the caller finds it."""
    if restore.cancelled():
        return  # Nothing was sent.
    error = restore.exception()
    backup: Backup | None = getattr(error or restore.result(), "backup", None)
    became = "restored" if backup is not None and backup.backup_state == BackupState.READY else "not_restored"
    if getattr(error, "outcome_unknown", error is not None):
        became = "unknown"
    reason = f" ({error.args[0]})" if error is not None and error.args else ""
    log(
        logging.WARNING,
        f"cancelled; {became.replace('_', ' ')}{reason}",
        operation="RestoreBackup",
        backup_id=backup_id,
        outcome=became,
        error=error,
        backup=backup,
        backup_state=state_name(backup.backup_state) if backup is not None else None,
    )


def _create_client(
    session: "boto3.Session | None",
    region_name: str | None,
    endpoint_url: str | None,
    config: "Config | None",
) -> "CloudHSMV2Client":
    check_session(session)
    with Call(None, url_secrets=frozenset(url_secrets(None, endpoint_url))):
        import boto3

        try:
            client: CloudHSMV2Client = (session or boto3).client(
                "cloudhsmv2", region_name=region_name, endpoint_url=endpoint_url, config=config
            )
        finally:
            del endpoint_url  # Its password would be among the local variables of a traceback.
        if problem := endpoint_problem(client.meta.endpoint_url):
            raise ConfigurationError(problem)
        add_user_agent(client.meta.events)
        return client
