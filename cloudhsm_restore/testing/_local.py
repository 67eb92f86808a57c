"""`LocalCloudHsm`: a CloudHSM backup service on 127.0.0.1, with faults to order."""

import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from ..client import RestoreClient
from ..models import Backup, BackupState
from ._boto3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY, make_boto3_client
from ._faults import AFTERWARDS, INSTEAD, Fault
from ._responses import ACCOUNT, HELD_FOR, REGION, BackupFields, make_backup
from ._service import OPERATIONS, Backups, RefusedError, checked
from ._wire import Answer, Server

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as the local service saw it."""

    operation: str
    """The AWS operation, such as ``"RestoreBackup"``."""
    backup_id: str | None
    """The backup that it was about, where it was about one."""
    fault: Fault | None
    """The fault that it met."""
    done: bool
    """Whether the work was done, whatever the client was told."""


@dataclass(frozen=True, slots=True)
class _Planned:
    fault: Fault
    operation: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class _Chance:
    random: random.Random
    probability: float
    faults: list[Fault]
    seconds: float

    def draw(self) -> _Planned | None:
        if self.random.random() >= self.probability:
            return None
        return _Planned(self.random.choice(self.faults), None, self.seconds)


_COUNTABLE = tuple(each for each in Fault if each is not Fault.CONNECTION_REFUSED)


class LocalCloudHsm:
    """A CloudHSM backup service on 127.0.0.1, from the moment it is made until `close`.

    It knows DescribeBackups, DeleteBackup, RestoreBackup and ModifyBackupAttributes, speaks AWS JSON 1.1
    and accepts any credentials, so that any AWS client can use it, in any language::

        with LocalCloudHsm() as service:
            backup = service.add_backup(backup_state="PENDING_DELETION")
            service.inject(Fault.DROP_AFTER_WORK, operation="RestoreBackup")
            assert service.client().ensure_restored(backup.backup_id).backup_state == "READY"

    As in AWS, a deleted backup can be restored for 7 days, on a clock that `advance` moves, and
    DescribeBackups honours one state per call.
    """

    def __init__(self, *, port: int = 0, region_name: str = REGION) -> None:
        """Start to listen; with ``port`` 0 the system chooses one."""
        self.region_name = region_name
        self._lock = threading.RLock()
        self._service = Backups()
        self._faults: deque[_Planned] = deque()
        self._chance: _Chance | None = None
        self._requests: list[ReceivedRequest] = []
        self._hurry = threading.Event()
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
        """Environment variables that point the AWS CLI, an AWS SDK or this library here."""
        return {
            "AWS_ENDPOINT_URL_CLOUDHSM_V2": self.endpoint_url,
            "AWS_REGION": self.region_name,
            "AWS_DEFAULT_REGION": self.region_name,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }

    def client(self, config: "Config | None" = None) -> RestoreClient:
        """A `RestoreClient` for this service, which needs nothing from the environment."""
        return RestoreClient(self.boto3_client(config))

    def boto3_client(self, config: "Config | None" = None) -> "CloudHSMV2Client":
        """A plain boto3 client for this service, which needs nothing from the environment."""
        return make_boto3_client(self.endpoint_url, self.region_name, config)

    # --- What it holds ---

    @property
    def backups(self) -> Mapping[str, Backup]:
        """The backups by their ID, as they are now."""
        with self._lock:
            self._service.purge(list(self._service.current))
            return MappingProxyType(dict(self._service.current))

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Every request so far, in the order in which the work was done or not."""
        with self._lock:
            return tuple(self._requests)

    def add_backup(self, **fields: Unpack[BackupFields]) -> Backup:
        """Add a backup; READY and with a new ID unless ``fields`` say otherwise."""
        with self._lock:
            backup = make_backup(fields, now=self._service.clock(), region=self.region_name, account=ACCOUNT)
            if backup.backup_id in self._service.current:
                raise ValueError(f"there is a backup {backup.backup_id} already")
            return self._service.put(backup)

    def change_backup(self, backup_id: str, /, **fields: Unpack[BackupFields]) -> Backup:
        """Change a backup as AWS itself might, such as from CREATE_IN_PROGRESS to READY."""
        with self._lock:
            return self._service.change(backup_id, **fields)

    def remove_backup(self, backup_id: str) -> None:
        """Remove a backup without a trace."""
        with self._lock:
            del self._service.current[backup_id], self._service.before[backup_id]

    @property
    def now(self) -> datetime:
        """The service's clock, in UTC."""
        return self._service.clock()

    def advance(self, time: timedelta) -> None:
        """Move the service's clock; what has been pending deletion for 7 days is deleted for good."""
        with self._lock:
            self._service.ahead += time

    # --- Faults ---

    def inject(
        self, fault: Fault | str, operation: str | None = None, times: int = 1, *, seconds: float = 1.0
    ) -> None:
        """Let the next ``times`` requests meet a fault. Faults are met in the order of their injection.

        Args:
            fault: which; a `Fault` or its value.
            operation: only requests for this AWS operation, such as ``"RestoreBackup"``.
            times: how many requests. A retry by the SDK is a request, too.
            seconds: for ``DELAY``, how late the answer is.

        Raises:
            ValueError: there is no such fault or operation.
        """
        if operation is not None and operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is none of {', '.join(OPERATIONS)}")
        planned = _Planned(_fault(fault), operation, seconds)
        with self._lock:
            self._faults.extend([planned] * times)
            refuse = self._refusal_is_next()
        if refuse:
            self.refuse()

    def inject_randomly(
        self,
        seed: int,
        probability: float = 0.2,
        faults: Iterable[Fault] = _COUNTABLE,
        *,
        seconds: float = 1.0,
    ) -> None:
        """Let every request meet a random fault with this probability, until `clear_faults`.

        The same seed gives the same faults to the same sequence of requests.

        Args:
            seed: for the random numbers.
            probability: of a fault, for each request.
            faults: those that take part; CONNECTION_REFUSED cannot.
            seconds: for ``DELAY``, how late the answer is.
        """
        chosen = [_fault(fault) for fault in faults]
        if Fault.CONNECTION_REFUSED in chosen:
            raise ValueError("a connection cannot be refused at random, for nothing would listen afterwards")
        with self._lock:
            self._chance = _Chance(random.Random(seed), probability, chosen, seconds)

    def clear_faults(self) -> None:
        """Forget all faults that are still to come, and listen again."""
        with self._lock:
            self._faults.clear()
            self._chance = None
        self.listen()

    # --- Listening ---

    def listen(self) -> None:
        """Accept connections (again), on the same port."""
        with self._lock:
            if self._server is None:
                self._hurry.clear()
                self._server = Server(self._port, self._answer)
                self._port = self._server.server_port

    def refuse(self) -> None:
        """End all connections and accept no more, until `listen`."""
        with self._lock:
            server, self._server = self._server, None
            if server is None:
                return
            server.stop_listening()
            self._hurry.set()
        server.hang_up()  # without the lock: it waits for threads that may want it

    def close(self) -> None:
        """End all connections, free the port, and leave no thread behind."""
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

    def _answer(self, operation: str, request: Mapping[str, Any]) -> Answer | None:
        with self._lock:
            planned = self._draw(operation)
            fault = planned.fault if planned else None
            backup_id = _backup_id(request)
            if fault and fault in INSTEAD:
                answer, done = INSTEAD[fault], False
            else:
                answer, done = self._work(operation, request, fault, backup_id)
                if fault and fault in AFTERWARDS:
                    answer = AFTERWARDS[fault](answer)
            self._requests.append(ReceivedRequest(operation, backup_id, fault, done))
            refuse = self._refusal_is_next()
        if planned and fault is Fault.DELAY:
            self._hurry.wait(planned.seconds)
        if refuse:
            self.refuse()
            return answer and replace(answer, last=True)
        return answer

    def _draw(self, operation: str) -> _Planned | None:
        for planned in self._faults:
            if planned.operation in (None, operation):
                self._faults.remove(planned)
                return planned
        return self._chance.draw() if self._chance else None

    def _refusal_is_next(self) -> bool:
        refused = False
        while self._faults and self._faults[0].fault is Fault.CONNECTION_REFUSED:
            self._faults.popleft()
            refused = True
        return refused

    def _work(
        self, operation: str, request: Mapping[str, Any], fault: Fault | None, backup_id: str | None
    ) -> tuple[Answer, bool]:
        service = self._service
        if backup_id in service.current:
            if fault is Fault.DELETED_MEANWHILE:
                until = service.clock() + HELD_FOR
                service.change(backup_id, backup_state=BackupState.PENDING_DELETION, delete_timestamp=until)
            elif fault is Fault.PURGED_MEANWHILE:
                service.change(backup_id, backup_state=BackupState.DELETED)
        try:
            if operation in OPERATIONS:
                request = checked(operation, request)
                if fault is Fault.STALE and operation == "DescribeBackups":
                    return Answer.of(service.describe_backups(request, stale=True)), True
                return Answer.of(OPERATIONS[operation](service, request)), True
        except RefusedError as refused:
            return Answer.error(refused.code, refused.message), False
        return Answer.error("UnknownOperationException", f"There is no operation {operation}."), False


def _fault(name: Fault | str) -> Fault:
    if name not in list(Fault):
        raise ValueError(f"{str(name)!r} is none of {', '.join(Fault)}")
    return Fault(name)


def _backup_id(request: Mapping[str, Any]) -> str | None:
    try:
        [backup_id] = request["Filters"]["backupIds"] if "Filters" in request else [request["BackupId"]]
    except (LookupError, TypeError, ValueError):
        return None
    return backup_id if isinstance(backup_id, str) else None
