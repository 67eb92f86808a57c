"""`LocalCloudHsm`: a CloudHSM backup service on 127.0.0.1, with fault injection."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from ..client import RestoreClient
from ..models import Backup, BackupState
from ._boto3 import make_boto3_client
from ._control import Control
from ._environ import environ_for
from ._faults import AFTER_WORK, BEFORE_WORK, Fault
from ._injection import FaultQueue, InjectedFault
from ._responses import ACCOUNT, RECOVERY_WINDOW, REGION, BackupFields, make_backup
from ._service import OPERATIONS, Backups, RejectedError, validated
from ._virtual_time import VirtualTimeClient
from ._wire import Response, Server, Service

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

_logger = logging.getLogger("cloudhsm_restore.testing")


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that the local service received."""

    operation: str
    """The AWS operation, such as ``"RestoreBackup"``. For ``on_request`` also a method and a path."""
    backup_id: str | None
    """The ID of the backup in the request, if there is exactly one."""
    fault: Fault | None
    """The fault that was injected into it."""
    done: bool
    """Whether the operation took effect, whatever the response was."""
    status: int | None = field(default=None, compare=False)
    """The HTTP status of the response. None if the connection was closed without one."""
    time: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)
    """When it was received, by the clock of the machine, in UTC."""


_INJECTABLE = tuple(fault for fault in Fault if fault is not Fault.CONNECTION_REFUSED)


class LocalCloudHsm:
    """A CloudHSM backup service on 127.0.0.1 that runs until `close`.

    It implements DescribeBackups, DeleteBackup, RestoreBackup and ModifyBackupAttributes in AWS JSON 1.1, and
    accepts any credentials, so that any AWS client can use it, in any language::

        with LocalCloudHsm() as service:
            backup = service.add_backup(backup_state="PENDING_DELETION")
            service.inject(Fault.DROP_AFTER_WORK, operation="RestoreBackup")
            assert service.client().ensure_restored(backup.backup_id).backup_state == "READY"

    As in AWS, a deleted backup can be restored for 7 days, on a clock that `advance` moves, and
    DescribeBackups honors one state per call.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        region_name: str = REGION,
        on_request: Callable[[ReceivedRequest], object] | None = None,
    ) -> None:
        """Start to listen.

        Args:
            port: the TCP port. With 0 the system chooses a free one.
            region_name: the AWS Region that the service is in.
            on_request: is called with each request once its response is known, in the thread that serves it.
        """
        self.region_name = region_name
        self._lock = threading.RLock()  # Held for each request as a whole, so that requests do not overlap.
        self._service = Backups()
        self._faults = FaultQueue()
        self._requests: list[ReceivedRequest] = []
        self._on_request = on_request
        self._closing = threading.Event()
        self._server: Server | None = None
        self._port = port
        self.listen()

    # --- Where it is, and clients for it ---

    @property
    def endpoint_url(self) -> str:
        """The URL that any AWS client takes as its endpoint."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that point the AWS CLI, the AWS SDKs and this library to this service.

        They override what this process's environment has: a proxy (NO_PROXY is extended), a profile,
        temporary credentials, and AWS_IGNORE_CONFIGURED_ENDPOINT_URLS.
        """
        return environ_for(self.endpoint_url, self.region_name)

    def client(self, config: "Config | None" = None, *, virtual_time: bool = False) -> RestoreClient:
        """Create a `RestoreClient` for this service. Nothing in the environment changes its behavior.

        Args:
            config: botocore's ``Config``. Timeouts are 5 s unless it sets others.
            virtual_time: whether waits end at once and only count toward ``timeout``. Neither the client
                nor boto3 sleeps before a retry. boto3's delays do not count. It does not suit tests in which
                the service recovers after a while, nor boto3's retry mode ``adaptive``.
        """
        if not virtual_time:
            return RestoreClient(self.boto3_client(config))
        return VirtualTimeClient(
            make_boto3_client(self.endpoint_url, self.region_name, config, backoff=False)
        )

    def boto3_client(self, config: "Config | None" = None) -> "CloudHSMV2Client":
        """Create a boto3 client for this service. Nothing in the environment changes its behavior."""
        return make_boto3_client(self.endpoint_url, self.region_name, config)

    # --- Its backups, and the requests for them ---

    @property
    def backups(self) -> Mapping[str, Backup]:
        """The backups by their ID, as they are now."""
        with self._lock:
            self._service.purge(list(self._service.current))
            return MappingProxyType(dict(self._service.current))

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Every request for an operation so far, in the order in which the operations took effect."""
        with self._lock:
            return tuple(self._requests)

    def add_backup(self, **fields: Unpack[BackupFields]) -> Backup:
        """Add a backup. It is READY and has a new ID unless ``fields`` override that."""
        with self._lock:
            backup = make_backup(fields, now=self._service.clock(), region=self.region_name, account=ACCOUNT)
            if backup.backup_id in self._service.current:
                raise ValueError(f"there is a backup {backup.backup_id} already")
            return self._service.put(backup)

    def change_backup(self, backup_id: str, /, **fields: Unpack[BackupFields]) -> Backup:
        """Change a backup as AWS does, such as from CREATE_IN_PROGRESS to READY."""
        with self._lock:
            return self._service.change(backup_id, **fields)

    def remove_backup(self, backup_id: str) -> None:
        """Remove a backup without a trace."""
        with self._lock:
            del self._service.current[backup_id], self._service.previous[backup_id]

    @property
    def now(self) -> datetime:
        """The service's clock, in UTC."""
        return self._service.clock()

    def advance(self, time: timedelta) -> None:
        """Move the service's clock. Backups that have been pending deletion for 7 days are then DELETED."""
        with self._lock:
            self._service.advance(time)

    # --- Faults ---

    def inject(
        self, fault: Fault | str, operation: str | None = None, times: int = 1, *, seconds: float = 1.0
    ) -> None:
        """Inject a fault into the next ``times`` requests. Faults are used up in the order of injection.

        Args:
            fault: a `Fault` or its value.
            operation: the AWS operation to inject it into, such as ``"RestoreBackup"``. None: any.
            times: the number of requests. Each attempt of an SDK is a request.
            seconds: for ``DELAY``, how late the response is.

        Raises:
            ValueError: the fault or the operation does not exist.
        """
        if operation is not None and operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}; expected one of {', '.join(OPERATIONS)}")
        with self._lock:
            self._faults.inject(_fault(fault), operation, times, seconds)
            stop = self._faults.draw_stop()
        if stop:
            self.refuse()

    def inject_randomly(
        self,
        seed: int,
        probability: float = 0.2,
        faults: Iterable[Fault] = _INJECTABLE,
        *,
        seconds: float = 1.0,
    ) -> None:
        """Inject a random fault into each request with this probability, until `clear_faults`.

        The same seed injects the same faults into the same sequence of requests.

        Args:
            seed: the seed of the random numbers.
            probability: the probability of a fault for each request.
            faults: the faults to choose from, without CONNECTION_REFUSED.
            seconds: for ``DELAY``, how late the response is.

        Raises:
            ValueError: a fault does not exist or is CONNECTION_REFUSED.
        """
        chosen = [_fault(fault) for fault in faults]
        if Fault.CONNECTION_REFUSED in chosen:
            raise ValueError(
                "CONNECTION_REFUSED cannot be injected at random, because the service would stop listening"
            )
        with self._lock:
            self._faults.inject_randomly(seed, probability, chosen, seconds)

    def clear_faults(self) -> None:
        """Remove all faults that are still to come, and listen again."""
        with self._lock:
            self._faults.clear()
        self.listen()

    # --- Listening ---

    def listen(self) -> None:
        """Accept connections again, on the same port."""
        with self._lock:
            if self._server is None:
                self._closing.clear()
                service = Service(self._respond, Control(self, self._injected).respond, self._observe)
                self._server = Server(self._port, service)
                self._port = self._server.server_port

    def refuse(self) -> None:
        """Close all connections and accept no more, until `listen`."""
        with self._lock:
            server, self._server = self._server, None
            if server is None:
                return
            server.stop_listening()
            self._closing.set()
        server.close_connections()  # without the lock, because it waits for threads that may need it

    def close(self) -> None:
        """Close all connections, free the port, and end all threads."""
        self.refuse()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- One request ---

    def _respond(self, operation: str, request: Mapping[str, Any]) -> Response | None:
        backup_id = _backup_id(request)
        with self._lock:
            injected = self._faults.draw(operation)
            fault = injected.fault if injected else None
            if fault and fault in BEFORE_WORK:
                response, done = BEFORE_WORK[fault], False
            else:
                response, done = self._work(operation, request, fault, backup_id)
                if fault and fault in AFTER_WORK:
                    response = AFTER_WORK[fault](response)
            received = ReceivedRequest(
                operation, backup_id, fault, done, status=response.status if response else None
            )
            self._requests.append(received)
            stop = self._faults.draw_stop()
        # Without the lock, because the callback may use this service.
        self._report(received)
        if injected and fault is Fault.DELAY:
            self._closing.wait(injected.seconds)  # or until the service is closed
        if stop:
            self.refuse()
            return response and replace(response, close_after=True)
        return response

    def _work(
        self, operation: str, request: Mapping[str, Any], fault: Fault | None, backup_id: str | None
    ) -> tuple[Response, bool]:
        service = self._service
        if backup_id in service.current:
            if fault is Fault.DELETED_MEANWHILE:
                until = service.clock() + RECOVERY_WINDOW
                service.change(backup_id, backup_state=BackupState.PENDING_DELETION, delete_timestamp=until)
            elif fault is Fault.PURGED_MEANWHILE:
                service.change(backup_id, backup_state=BackupState.DELETED)
        try:
            if operation in OPERATIONS:
                request = validated(operation, request)
                if fault is Fault.STALE and operation == "DescribeBackups":
                    return Response.of(service.describe_backups(request, stale=True)), True
                return Response.of(OPERATIONS[operation](service, request)), True
        except RejectedError as error:
            return Response.error(error.code, error.message), False
        return Response.error("UnknownOperationException", f"There is no operation {operation}."), False

    def _injected(self) -> list[InjectedFault]:
        with self._lock:
            # Copies, because a request that comes meanwhile changes the originals.
            return [replace(injected) for injected in self._faults.injected]

    def _observe(self, request: str, status: int) -> None:
        self._report(ReceivedRequest(request, None, None, done=False, status=status))

    def _report(self, received: ReceivedRequest) -> None:
        if self._on_request is None:
            return
        try:
            self._on_request(received)
        except Exception:  # a failure to report a request must not change the response to it
            _logger.exception("on_request raised an exception")


def _fault(name: Fault | str) -> Fault:
    if name not in list(Fault):
        raise ValueError(f"unknown fault {str(name)!r}; expected one of {', '.join(Fault)}")
    return Fault(name)


def _backup_id(request: Mapping[str, Any]) -> str | None:
    try:
        [backup_id] = request["Filters"]["backupIds"] if "Filters" in request else [request["BackupId"]]
    except (LookupError, TypeError, ValueError):
        return None
    return backup_id if isinstance(backup_id, str) else None
