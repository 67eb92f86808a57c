"""Randomized fault injection: what the clients report, compared with what the service did.

``make fault-injection`` runs 10,000 fault sequences with each client, and writes the tables of
``docs/reference/verification.md``. ``tests/test_fault_injection.py`` runs a few hundred. A sequence that
violates a claim ends the run. It is shortened while it still violates one, and printed.

A sequence starts without a connection, or with one that an earlier request left open, perhaps with a fault.
So faults also meet requests on a kept-alive connection, and no sequence depends on the one before.

The claims, for every backup of every call:

1. A returned `Backup` that is READY: the service has it READY.
2. An error without ``outcome_unknown``: this call did not restore the backup, unless ``error.backup`` is
   READY, and then the service has it READY.
3. Nothing but `RestoreError` is raised, every input has one result, and nothing stays open.
"""

import argparse
import gc
import random
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from cloudhsm_restore import BackupState, RestoreClient, RestoreError
from cloudhsm_restore.testing import Fault, LocalCloudHsm
from cloudhsm_restore.testing._faults import AFTER_WORK
from cloudhsm_restore.testing._wire import Server

from . import figures
from .clients import VirtualTimeClient, make_async_client

READ_TIMEOUT: Final = 0.25
"""Seconds. A delayed response is sent after twice that."""

CALLS: Final = ("restore_backup", "restore_backup", "ensure_restored", "ensure_restored", "restore_backups")
"""The calls. One that stands twice is drawn twice as often."""

STATES: Final[Mapping[BackupState | None, int]] = {
    BackupState.PENDING_DELETION: 8,
    BackupState.READY: 1,
    BackupState.DELETED: 1,
    BackupState.CREATE_IN_PROGRESS: 1,
    None: 1,  # The backup does not exist.
}
"""The states, and how often each is drawn."""

# Errors that hide a restore are the ones that this is about, so more of them are drawn.
FAULTS: Final[Mapping[Fault | None, float]] = (
    {None: 20}
    | {fault: 2 if fault in AFTER_WORK else 1 for fault in Fault}
    | {Fault.DELAY: 0.3}  # It takes real time.
)
"""The faults, and how often each is drawn."""

CONNECTION_FAULTS: Final = (
    Fault.INTERIM_RESPONSE,
    Fault.DUPLICATE_RESPONSE,
    Fault.CLOSE_AFTER_RESPONSE,
    Fault.CLOSE_ON_NEXT_REQUEST,
)
"""The faults that a later request on the same connection meets."""


@dataclass(frozen=True)
class FaultSequence:
    """A call, the states of its backups, boto3's number of attempts, and a fault for each request in turn."""

    call: str
    states: tuple[BackupState | None, ...]
    attempts: int
    faults: tuple[Fault | None, ...]
    never_expires: bool | None = None
    recovers: bool = True
    """Whether the service listens again when the client waits."""
    earlier: tuple[Fault | None, ...] = (None,)
    """The fault of an earlier request, which has opened a connection. Empty: there was no such request."""


def drawn(draw: random.Random, calls: Sequence[str] = CALLS) -> FaultSequence:
    """Return a random sequence."""
    call = draw.choice(calls)
    number = draw.randint(1, 5) if call == "restore_backups" else 1
    faults = draw.choices([*FAULTS], [*FAULTS.values()], k=draw.randint(0, 6))
    # STALE may show a backup READY that another user has just deleted. No client can detect that, because
    # DescribeBackups is the only source of truth. The documentation states this limit.
    if not {Fault.DELETED_MEANWHILE, Fault.PURGED_MEANWHILE}.isdisjoint(faults):
        faults = [fault for fault in faults if fault is not Fault.STALE]
    return FaultSequence(
        call,
        tuple(draw.choices([*STATES], [*STATES.values()], k=number)),
        attempts=draw.choice([1, 2, 2, 3]),
        faults=tuple(faults),
        never_expires=None if call == "restore_backup" else draw.choice([None, None, True, False]),
        recovers=draw.choice([True, False]),
        earlier=draw.choice([(), (None,), *((fault,) for fault in CONNECTION_FAULTS)]),
    )


def shorter(sequence: FaultSequence) -> Iterator[FaultSequence]:
    """Yield sequences that have one backup or one fault less, or no earlier request."""
    for name in ("states", "faults", "earlier"):
        items = getattr(sequence, name)
        for index in range(int(name == "states"), len(items)):
            yield replace(sequence, **{name: items[:index] + items[index + 1 :]})


@dataclass
class Tally:
    """The counts of one run."""

    sequences: int = 0
    requests: int = 0
    connections: int = 0
    """How many were opened. All other requests reused one."""
    faults: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])


def retry_without_sleep(attempts: int) -> Any:
    """Return a handler for botocore's ``needs-retry`` that decides as botocore does, without a sleep."""

    def decide(response: Any, caught_exception: Any, **event: Any) -> int | None:
        status = response[0].status_code if response else 0
        code = response[1].get("Error", {}).get("Code") if response else ""
        transient = (
            isinstance(caught_exception, BotoCoreError) or status >= 500 or code == "ThrottlingException"
        )
        return 0 if transient and event["attempts"] < attempts else None

    return decide


OPTIONS: Final[Mapping[str, Any]] = {
    "retries": {"total_max_attempts": 1, "mode": "standard"},
    "read_timeout": READ_TIMEOUT,
    "max_pool_connections": 4,
}


class Clients:
    """The clients of one service, with 1, 2, or 3 attempts and no sleep between them."""

    def __init__(self, service: LocalCloudHsm) -> None:
        self.service = service
        self.boto3 = {attempts: self._boto3_client(attempts) for attempts in (1, 2, 3)}
        self.restore: dict[int, Any] = self._restore_clients()

    def _restore_clients(self) -> dict[int, Any]:
        return {attempts: VirtualTimeClient(client) for attempts, client in self.boto3.items()}

    def _boto3_client(self, attempts: int) -> Any:
        client = self.service.boto3_client(Config(**OPTIONS))
        client.meta.events.register_first("needs-retry.cloudhsm-v2", retry_without_sleep(attempts))
        return client

    def set_recovery(self, client: Any, recovers: bool) -> None:
        """Let the service listen again when the client waits, or let it stay down."""
        sync = getattr(client, "_async", None)
        (sync._sync if sync else client).on_wait = self.service.listen if recovers else lambda: None

    def close(self) -> None:
        for client in self.boto3.values():
            client.close()


class AsyncClients(Clients):
    """The same with asynchronous clients."""

    def _restore_clients(self) -> dict[int, Any]:
        clients: dict[int, Any] = {}
        for attempts in self.boto3:
            client = make_async_client(self.service.endpoint_url, OPTIONS)
            client._client.meta.events.register_first(
                "needs-retry.cloudhsm-v2", retry_without_sleep(attempts)
            )
            clients[attempts] = client
        return clients

    def close(self) -> None:
        super().close()
        for client in self.restore.values():
            client.close()


def prepare(
    sequence: FaultSequence, service: LocalCloudHsm, boto3: Any, restore: Callable[[str], object]
) -> list[str]:
    """Add the backups of a sequence, inject its faults, and return the IDs.

    The client of boto3 is left with no other connection than that of the earlier request, which ``restore``
    sends with it.
    """
    service.clear_faults()
    for old in service.backups:  # Each request takes time for each backup.
        service.remove_backup(old)
    boto3.close()
    for fault in sequence.earlier:
        if fault is not None:
            service.inject(fault)
        with suppress(Exception):
            restore(service.add_backup().backup_id)  # It is READY, so the request is rejected.
    ids: list[str] = []
    for state in sequence.states:
        backup = service.add_backup(backup_state=state or BackupState.READY)
        if state is None:
            service.remove_backup(backup.backup_id)
        ids.append(backup.backup_id)
    for fault in sequence.faults:
        if fault is not None:
            service.inject(fault, seconds=2 * READ_TIMEOUT)
    return ids


def restored_by(service: LocalCloudHsm, since: int, backup_id: str) -> bool:
    """Return whether the service has carried out a RestoreBackup of the backup since then."""
    return any(
        request.done and request.operation == "RestoreBackup" and request.backup_id == backup_id
        for request in service.requests[since:]
    )


def run(sequence: FaultSequence, clients: Clients, tally: Tally) -> None:
    """Run a sequence, and raise AssertionError if a claim does not hold."""
    service = clients.service
    client = clients.restore[sequence.attempts]
    ids = prepare(sequence, service, client._client, client.restore_backup)
    since = len(service.requests)
    clients.set_recovery(client, sequence.recovers)
    with counted_connections(tally):
        reported = dict(outcomes(sequence, client, ids))
    tally.sequences += 1
    tally.requests += len(service.requests) - since
    tally.faults.update(request.fault for request in service.requests[since:] if request.fault)
    assert set(reported) == set(ids)
    for backup_id, outcome in reported.items():
        actual = service.backups.get(backup_id)
        is_ready = actual is not None and actual.backup_state is BackupState.READY
        if isinstance(outcome, RestoreError):
            tally.outcomes["unknown" if outcome.outcome_unknown else "failed"] += 1
            known_ready = outcome.backup is not None and outcome.backup.backup_state is BackupState.READY
            if known_ready and not outcome.outcome_unknown:
                assert is_ready, f"{outcome!r} carries a READY backup, the service has {actual}"
            elif not outcome.outcome_unknown:
                assert not restored_by(service, since, backup_id), f"{outcome!r} hides that it was restored"
        else:
            assert outcome.backup_id == backup_id
            if sequence.call == "restore_backup" and outcome.backup_state is not BackupState.READY:
                # The service returned another state, and so did the client.
                tally.outcomes["another state"] += 1
                continue
            tally.outcomes["restored"] += 1
            assert outcome.backup_state is BackupState.READY, outcome
            assert is_ready, f"reported READY, the service has {actual}"


def outcomes(sequence: FaultSequence, client: RestoreClient, ids: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield what the client reports of each backup."""
    if sequence.call == "restore_backups":
        results = list(client.restore_backups(iter(ids), never_expires=sequence.never_expires, max_workers=3))
        assert len(results) == len(ids)
        for result in results:
            yield result.backup_id, result.backup or result.error
        return
    [backup_id] = ids
    try:
        if sequence.call == "restore_backup":
            yield backup_id, client.restore_backup(backup_id)
        else:
            yield (
                backup_id,
                client.ensure_restored(backup_id, never_expires=sequence.never_expires, timeout=60),
            )
    except RestoreError as error:
        yield backup_id, error


@contextmanager
def counted_connections(tally: Tally) -> Generator[None]:
    """Count the connections that are opened meanwhile."""

    def process_request(self: Server, request: Any, client_address: Any) -> None:
        tally.connections += 1
        original(self, request, client_address)

    original = Server.process_request
    with patch.object(Server, "process_request", process_request):
        yield


@contextmanager
def nothing_left_open() -> Generator[None]:
    """Fail if threads, sockets, or other handles are left open."""

    def handles() -> int:
        listed = Path("/proc/self/fd")
        return len(list(listed.iterdir())) if listed.is_dir() else 0

    threads, before = set(threading.enumerate()), handles()
    yield
    gc.collect()  # An exception and the frames in its traceback are a cycle.
    assert set(threading.enumerate()) <= threads, threading.enumerate()
    assert handles() <= before, f"{handles() - before} handles left open"


def run_many(number: int, start: int, clients_of: Callable[[LocalCloudHsm], Clients] = Clients) -> Tally:
    """Run random sequences from a seed, and raise with the shortest sequence that violates a claim."""
    draw, tally = random.Random(start), Tally()
    with nothing_left_open(), LocalCloudHsm() as service:
        clients = clients_of(service)
        try:
            for _ in range(number):
                sequence = drawn(draw)
                try:
                    run(sequence, clients, tally)
                except Exception as error:
                    shortest, violated = shortened(sequence, error, clients)
                    violated.add_note(f"sequence {tally.sequences} from seed {start}: {shortest}")
                    raise violated from None
        finally:
            clients.close()
    return tally


def shortened(sequence: FaultSequence, error: Exception, clients: Clients) -> tuple[FaultSequence, Exception]:
    """Return the shortest sequence found that still fails, and its exception."""
    for candidate in shorter(sequence):
        try:
            run(candidate, clients, Tally())
        except Exception as another:
            return shortened(candidate, another, clients)
    return sequence, error


# --- For comparison: boto3 and RestoreClient with the same fault ---


def single_faults() -> dict[str, tuple[Fault, ...]]:
    """Return the faults of the published table: each alone in the first attempt, and two in both attempts."""
    return {
        fault.value: (fault,) for fault in Fault if fault not in (Fault.STALE, Fault.CONNECTION_REFUSED)
    } | {
        f"{Fault.DROP_AFTER_WORK} then {second}": (Fault.DROP_AFTER_WORK, second)
        for second in (Fault.CONNECTION_REFUSED, Fault.THROTTLED)
    }


def boto3_report(sequence: FaultSequence, clients: Clients) -> tuple[str, str | None]:
    """Return what boto3 reports, and how that differs from what the service did; None if it does not."""
    service, boto3 = clients.service, clients.boto3[sequence.attempts]
    [backup_id] = prepare(sequence, service, boto3, lambda each: boto3.restore_backup(BackupId=each))
    since = len(service.requests)
    try:
        response = boto3.restore_backup(BackupId=backup_id)
        reported = True
        report = "returns the backup" if response.get("Backup") else "returns a dict without a backup"
    except Exception as error:
        reported, report = False, f"raises {type(error).__name__}"
    if reported == restored_by(service, since, backup_id):
        return report, None
    return report, "report success without a restore" if reported else "report failure after a restore"


def boto3_cell(sequence: FaultSequence, clients: Clients) -> str:
    """Return one cell of the table: what boto3 reports, and whether that is wrong."""
    report, misreport = boto3_report(sequence, clients)
    return f"{report} (**wrong**)" if misreport else report


def restore_client_cell(sequence: FaultSequence, clients: Clients) -> str:
    """Return one cell of the table: what RestoreClient reports."""
    client = clients.restore[sequence.attempts]
    clients.set_recovery(client, True)
    ids = prepare(sequence, clients.service, client._client, client.restore_backup)
    [(_, outcome)] = outcomes(sequence, client, ids)
    if not isinstance(outcome, RestoreError):
        return "returns the backup"
    return f"raises {type(outcome).__name__}" + (", outcome unknown" if outcome.outcome_unknown else "")


def table() -> list[str]:
    """Return the published table, with two attempts each. Faults with equal cells share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    with LocalCloudHsm() as service:
        clients = Clients(service)
        for name, faults in single_faults().items():
            restore = FaultSequence("restore_backup", (BackupState.PENDING_DELETION,), 2, faults, None, True)
            ensure = FaultSequence("ensure_restored", restore.states, 2, faults, None, True)
            cells = (
                boto3_cell(restore, clients),
                restore_client_cell(restore, clients),
                restore_client_cell(ensure, clients),
            )
            rows.setdefault(cells, []).append(name)
        clients.close()
    return [
        "| Fault | boto3 `restore_backup` | This library's `restore_backup` | `ensure_restored` |",
        "| --- | --- | --- | --- |",
        *(f"| {', '.join(names)} | {' | '.join(cells)} |" for cells, names in rows.items()),
    ]


def compare(number: int, start: int) -> Counter[str]:
    """Run random sequences of restore_backup with boto3, and count its misreports by kind."""
    draw, misreports = random.Random(start), Counter[str]()
    with LocalCloudHsm() as service:
        clients = Clients(service)
        for _ in range(number):
            _, misreport = boto3_report(drawn(draw, ["restore_backup"]), clients)
            misreports.update([misreport] if misreport else [])
        clients.close()
    return misreports


def counts(tallies: Mapping[str, Tally], with_boto3: int, misreports: Counter[str]) -> Iterator[str]:
    """Yield the table by client. A run of this library's clients ends with its first misreport."""
    yield "| Client | Sequences | Requests | On a kept-alive connection | Misreports | Other exceptions |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, tally in tallies.items():
        kept_alive = tally.requests - tally.connections
        yield f"| `{name}`, all calls | {tally.sequences:,} | {tally.requests:,} | {kept_alive:,} | 0 | 0 |"
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(misreports.items()))
    cell = f"{misreports.total():,}: {kinds}"
    yield f"| boto3, `restore_backup` | {with_boto3:,} | | | {cell} | counted as failure |"


def main() -> None:
    """Run the sequences, and print the counts and the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asynchronous", action="store_true", help="with the asynchronous client alone")
    parser.add_argument("--write", action="store_true", help="write the tables into the documentation")
    arguments = parser.parse_args()
    tallies: dict[str, Tally] = {}
    for name, clients_of in {"RestoreClient": Clients, "AsyncRestoreClient": AsyncClients}.items():
        if arguments.asynchronous and clients_of is Clients:
            continue
        tally = tallies[name] = run_many(arguments.sequences, arguments.seed, clients_of)
        print(
            f"{name}: {tally.sequences} sequences, {tally.requests} requests, {tally.connections} connections"
        )
        print(", ".join(f"{number} {outcome}" for outcome, number in tally.outcomes.most_common()))
        print(", ".join(f"{number} {fault}" for fault, number in tally.faults.most_common()), flush=True)
    if arguments.asynchronous:
        return
    with_boto3 = arguments.sequences // 2
    by_client = [*counts(tallies, with_boto3, compare(with_boto3, arguments.seed))]
    by_fault = table()
    print("", *by_client, "", *by_fault, sep="\n")
    if arguments.write:
        figures.write("fault-injection", by_client, f"seed {arguments.seed}")
        figures.write("every-fault", by_fault)


if __name__ == "__main__":
    main()
