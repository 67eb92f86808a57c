"""`RestoreClient`: the way from a backup ID through boto3 to a `Backup`."""

import random
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from ._arguments import (
    UntypedClient,
    check_backup_id,
    check_client,
    check_endpoint,
    check_many,
    check_options,
    check_session,
    describe_requests,
    pool_size,
)
from ._boundary import Call, absent, identify, watch
from ._procedure import Ask, Exempt, Restore, RestoreResult, Restoring, Step, Throttle, Wait, log_settled
from .exceptions import RestoreError
from .models import Backup, BackupState

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

__all__ = ["RestoreClient"]


class RestoreClient:
    """Gets CloudHSM backups back that are pending deletion, through boto3.

    ``RestoreClient()`` finds credentials, profile, region, endpoint, proxies, retries and timeouts as boto3
    does. It holds no state of its own, and threads may share it.
    """

    @overload
    def __init__(self, client: "CloudHSMV2Client | UntypedClient") -> None: ...

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
        client: "CloudHSMV2Client | UntypedClient | None" = None,
        *,
        session: "boto3.Session | None" = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        config: "Config | None" = None,
    ) -> None:
        """Wrap a boto3 client, or make one.

        Args:
            client: a boto3 ``cloudhsmv2`` client; it stays yours to close. Nothing else may be given with it.
            session: the session to make a client from; boto3's default session without it.
            region_name: the AWS Region; without it, the session's.
            endpoint_url: another endpoint; without it, what the environment or the profile says, or AWS's.
            config: botocore's ``Config``, for retries, timeouts, proxies and the size of the connection pool.

        Raises:
            ConfigurationError: no client can be made: no region, an unknown profile, a bad endpoint.
            TypeError: ``client`` was given together with something else, or is no ``cloudhsmv2`` client;
                ``session`` is no session.
        """
        if client is None:
            self._client = _make_client(session, region_name, endpoint_url, config)
        else:
            self._client = check_client(
                client, session, region_name, endpoint_url, config, asynchronous=False
            )
        self._is_ours = client is None
        if hasattr(self._client, "meta"):  # a fake may do without
            watch(self._client.meta.events)

    def restore_backup(self, backup_id: str) -> Backup:
        """Ask once for the backup to be restored: one RestoreBackup call, with boto3's own retries.

        RestoreBackup takes a backup from PENDING_DELETION back to READY. It is not idempotent: a backup that
        is READY already is refused with ``InvalidRequestError``. `ensure_restored` makes up for that.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Returns:
            The backup as the service describes it now.

        Raises:
            ParameterError: ``backup_id`` cannot be the ID of a backup.
            ConfigurationError: there are no usable credentials, or endpoint or config cannot be used.
            TransportError: no usable answer came.
            UnexpectedResponseError: an answer came that is no such response.
            ApiError: the service refused. Look at ``outcome_unknown`` on this and all the others.
        """
        check_backup_id(backup_id, "RestoreBackup")
        with Call("RestoreBackup", backup_id) as call:
            return call.backup(self._client.restore_backup(BackupId=backup_id))

    def get_backup(self, backup_id: str) -> Backup:
        """Look at one backup, in whatever state it is: DescribeBackups with its ID.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Raises:
            ResourceNotFoundError: there is no such backup in this account and region.
            RestoreError: as for `restore_backup`.
        """
        check_backup_id(backup_id, "DescribeBackups")
        others = 0
        for backup in self._described(describe_requests(backup_ids=[backup_id]), backup_id):
            if backup.backup_id == backup_id:
                return backup
            others += 1
        raise absent(backup_id, others)

    def describe_backups(
        self,
        *,
        states: Iterable[BackupState | str] = (),
        cluster_ids: Iterable[str] = (),
        backup_ids: Iterable[str] = (),
        source_backup_ids: Iterable[str] = (),
        never_expires: bool | None = None,
    ) -> Generator[Backup, None, None]:
        """List backups, page by page and only as far as you iterate. A filter that is empty is not applied.

        With several states there is one chain of DescribeBackups calls for each, because the live service
        honours one state per call; a backup whose state changes meanwhile can come twice or not at all.

        Args:
            states: only backups in these states. A string that is no known state is refused, for it would
                find nothing; a state that AWS added later is given as ``BackupState("...")``.
            cluster_ids: only backups of these clusters.
            backup_ids: only these backups; one that does not exist is left out.
            source_backup_ids: only copies of these backups.
            never_expires: only backups that are exempt from the retention policy, or only those that are not.

        Raises:
            ParameterError: an argument cannot be used; raised at once.
            RestoreError: as for `restore_backup`, while iterating.
        """
        requests = describe_requests(
            states=states,
            cluster_ids=cluster_ids,
            backup_ids=backup_ids,
            source_backup_ids=source_backup_ids,
            never_expires=never_expires,
        )
        return self._described(requests, None)

    def ensure_restored(
        self, backup_id: str, *, never_expires: bool | None = None, timeout: float = 300.0
    ) -> Backup:
        """Bring the backup to READY, however often this is called and whatever is lost on the way.

        One RestoreBackup call where all goes well. Only an answer that leaves a doubt is settled by
        DescribeBackups; throttling, doubt and CREATE_IN_PROGRESS are waited out with full-jitter backoff.

        Args:
            backup_id: the ID of the backup, not its ARN.
            never_expires: True exempts the backup from its cluster's retention policy afterwards, False takes
                that back, None leaves it. A restored backup that is older than the policy is purged again
                unless it is exempt (AWS CloudHSM user guide, "Configure backup retention").
            timeout: seconds after which nothing is tried again or waited for. What it takes to know the
                outcome of the last try still follows, and the exemption; boto3's timeouts end each call.

        Returns:
            The backup, which is READY. How long it had left is in the one from before, see
            `Backup.time_left`.

        Raises:
            NotRestorableError: it is DELETED or in a state that nobody knows.
            ResourceNotFoundError: there is no such backup in this account and region.
            WaitTimeoutError: not READY in time; ``backup`` holds what was last seen.
            AccessDeniedError, AuthenticationError, ConfigurationError, ParameterError, ConnectError: at once;
                the first two also where DescribeBackups is refused, and then ``outcome_unknown`` is true.
            RestoreError: any other. Where ``outcome_unknown`` is true, the doubt could not be settled. Where
                ``error.backup`` is READY, only the exemption from the retention policy failed.
        """
        check_options(never_expires, timeout)
        return self._ensure_restored(backup_id, never_expires, timeout, self._pace())

    def restore_backups(
        self,
        backup_ids: Iterable[str],
        *,
        never_expires: bool | None = None,
        max_workers: int = 8,
        timeout: float = 300.0,
    ) -> Generator[RestoreResult, None, None]:
        """`ensure_restored` for many, concurrently; results come in the order in which they finish.

        Nothing happens until you iterate::

            for result in client.restore_backups(backup_ids):
                print(result.backup_id, "restored" if result.ok else result.error)

        Takes an iterable of any length, a generator too, and holds only what is in flight. Every ID gets
        exactly one result, a bad or repeated one too. When the service throttles one, all of them slow down.
        Closing the iterator (``contextlib.closing`` does it), an interrupt, or an exception in ``backup_ids``
        ends it: nothing new is begun, what is in flight is waited for, and no thread stays behind.

        Args:
            backup_ids: IDs of backups. They are taken in the calling thread, while you iterate: results wait
                while this iterable lets you wait.
            never_expires: as for `ensure_restored`.
            max_workers: how many at a time; never more than the client's connection pool holds, which is 10
                unless ``Config(max_pool_connections=...)`` says otherwise.
            timeout: seconds for each backup, from when its turn comes.

        Raises:
            ParameterError: an argument other than a single ID cannot be used; raised at once.
        """
        check_options(never_expires, timeout)
        check_many(backup_ids, max_workers, Iterable)
        workers = min(max_workers, pool_size(self._client))
        return self._restored(iter(backup_ids), never_expires, workers, timeout)

    def close(self) -> None:
        """Close the connections of a client that was made here; a client that was given stays as it is."""
        if self._is_ours:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _pace(self) -> "Pace":
        return Pace()  # a seam: tests put another clock here

    def _described(
        self, requests: list[dict[str, Any]], backup_id: str | None
    ) -> Generator[Backup, None, None]:
        for request in requests:
            tokens: set[str] = set()
            while True:
                with Call("DescribeBackups", backup_id) as call:
                    page, token = call.page(self._client.describe_backups(**request), tokens)
                yield from page
                if token is None:
                    break
                request["NextToken"] = token

    def _ensure_restored(
        self, backup_id: str, never_expires: bool | None, timeout: float, pace: "Pace"
    ) -> Backup:
        check_backup_id(backup_id, "RestoreBackup")
        run = Restoring(
            backup_id, never_expires=never_expires, timeout=timeout, now=pace.now(), random=random.random
        )
        step = run.first
        while True:
            outcome: Backup | RestoreError | None = None
            pace.before(step, run.deadline)
            try:
                match step:
                    case Wait():
                        pass
                    case Restore():
                        outcome = self.restore_backup(backup_id)
                    case Ask():
                        outcome = self.get_backup(backup_id)
                        log_settled(outcome, step.because)
                    case Exempt():
                        outcome = self._modify_backup_attributes(backup_id, step.never_expires)
            except RestoreError as error:
                outcome = error
            following = run.after(step, outcome, pace.now())
            if isinstance(following, Backup):
                return following
            step = following

    def _modify_backup_attributes(self, backup_id: str, never_expires: bool) -> Backup:
        with Call("ModifyBackupAttributes", backup_id) as call:
            return call.backup(
                self._client.modify_backup_attributes(BackupId=backup_id, NeverExpires=never_expires)
            )

    def _restored(
        self, backup_ids: Iterator[str], never_expires: bool | None, workers: int, timeout: float
    ) -> Generator[RestoreResult, None, None]:
        pace = self._pace()
        finished: SimpleQueue[RestoreResult | BaseException] = SimpleQueue()

        def work(backup_id: str) -> None:
            try:
                backup = self._ensure_restored(backup_id, never_expires, timeout, pace)
                finished.put(RestoreResult(backup_id, backup))
            except RestoreError as error:
                finished.put(RestoreResult(backup_id, error=error))
            except BaseException as error:  # noqa: BLE001  (a bug or a misused Stubber belongs to the caller)
                finished.put(error)

        in_flight = 0
        with ThreadPoolExecutor(workers, thread_name_prefix="cloudhsm-restore") as pool:
            try:
                for backup_id in backup_ids:
                    pool.submit(work, backup_id)
                    in_flight += 1
                    while in_flight >= 2 * workers or not finished.empty():
                        in_flight -= 1
                        yield _result(finished.get())
                while in_flight:
                    in_flight -= 1
                    yield _result(finished.get())
            finally:
                pace.stop()
                pool.shutdown(cancel_futures=True)


def _result(finished: RestoreResult | BaseException) -> RestoreResult:
    if isinstance(finished, RestoreResult):
        return finished
    raise finished


class _StoppedError(Exception):
    """Nobody waits for this restore any more."""


class Pace:
    """Time, as the restores that share a pace see it."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._throttle = Throttle()

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass; raises once the pace is stopped."""
        if self._stopped.wait(seconds):
            raise _StoppedError

    def before(self, step: Step, deadline: float) -> None:
        """Wait as ``step`` says, or until it may be carried out; not beyond the deadline."""
        while (seconds := self._throttle.delay(step, self.now(), deadline)) > 0:
            self.sleep(seconds)
            if isinstance(step, Wait):
                return
        if self._stopped.is_set():
            raise _StoppedError

    def stop(self) -> None:
        """Wake all sleepers and let none go on."""
        self._stopped.set()


def _make_client(
    session: "boto3.Session | None",
    region_name: str | None,
    endpoint_url: str | None,
    config: "Config | None",
) -> "CloudHSMV2Client":
    check_session(session, "client")
    with Call(None):
        import boto3

        client: CloudHSMV2Client = (session or boto3).client(
            "cloudhsmv2",
            region_name=region_name,
            endpoint_url=endpoint_url,
            config=config,
        )
        check_endpoint(client.meta.endpoint_url)
        identify(client.meta.events)
        return client
