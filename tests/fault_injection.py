"""Randomized fault injection: what the clients report, compared with what the service did.

``make fault-injection`` runs 10,000 fault sequences and prints the tables, ``tests/test_fault_injection.py``
a few hundred. Hypothesis shrinks a sequence that violates a claim, and prints it.

The claims, for every backup of every call:

1. A returned `Backup` that is READY: the service has it READY.
2. An error without ``outcome_unknown``: this call did not restore the backup, unless ``error.backup`` is
   READY, and then the service has it READY.
3. Nothing but `RestoreError` is raised, every input has one result, and nothing stays open.
"""

import argparse
import gc
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cloudhsm_restore import BackupState, RestoreClient, RestoreError
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import VirtualTimeClient, make_async_client

READ_TIMEOUT: Final = 0.25
"""Seconds. A delayed response is sent after twice that."""

STATES: Final = [
    BackupState.PENDING_DELETION,
    BackupState.READY,
    BackupState.DELETED,
    BackupState.CREATE_IN_PROGRESS,
    None,  # The backup does not exist.
]

ALL_HEALTH_CHECKS: Final[list[Any]] = [*HealthCheck]  # Hypothesis does not annotate the members of its enum.


@dataclass(frozen=True)
class FaultSequence:
    """A call, the states of its backups, boto3's number of attempts, and a fault for each request in turn."""

    call: str
    states: tuple[BackupState | None, ...]
    attempts: int
    faults: tuple[Fault | None, ...]
    never_expires: bool | None
    recovers: bool
    """Whether the service listens again when the client waits."""


def sequences() -> st.SearchStrategy[FaultSequence]:
    """Return the strategy for all sequences. A delay takes real time, so few of them have one."""
    quick = [fault for fault in Fault if fault is not Fault.DELAY]
    faults = st.lists(
        st.one_of(st.none(), st.sampled_from(quick), st.sampled_from(quick), st.sampled_from([*Fault])),
        max_size=6,
    )
    # STALE may show a backup READY that another user has just deleted. No client can detect that, because
    # DescribeBackups is the only source of truth. The documentation states this limit.
    possible = faults.filter(lambda drawn: not {Fault.STALE, Fault.DELETED_MEANWHILE} <= set(drawn))
    possible = possible.filter(lambda drawn: not {Fault.STALE, Fault.PURGED_MEANWHILE} <= set(drawn))
    one = st.sampled_from([BackupState.PENDING_DELETION] * 4 + STATES).map(lambda state: (state,))
    many = st.lists(st.sampled_from([BackupState.PENDING_DELETION] * 4 + STATES), min_size=1, max_size=5).map(
        tuple
    )
    calls = st.sampled_from(
        ["restore_backup", "restore_backup", "ensure_restored", "ensure_restored", "restore_backups"]
    )
    return calls.flatmap(
        lambda call: st.builds(
            FaultSequence,
            call=st.just(call),
            states=many if call == "restore_backups" else one,
            attempts=st.sampled_from([1, 2, 3]),
            faults=possible.map(tuple),
            never_expires=st.none()
            if call == "restore_backup"
            else st.sampled_from([None, None, True, False]),
            recovers=st.booleans(),
        )
    )


@dataclass
class Tally:
    """The counts of one run."""

    sequences: int = 0
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    misreports: list[str] = field(default_factory=list[str])


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


def prepare(sequence: FaultSequence, service: LocalCloudHsm) -> list[str]:
    """Add the backups of a sequence, inject its faults, and return the IDs."""
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
    ids = prepare(sequence, service)
    since = len(service.requests)
    client = clients.restore[sequence.attempts]
    clients.set_recovery(client, sequence.recovers)
    reported = dict(outcomes(sequence, client, ids))
    service.clear_faults()
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
                tally.outcomes["another state"] += (
                    1  # The service returned another state, and so did the client.
                )
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


def boto3_misreport(sequence: FaultSequence, clients: Clients) -> str | None:
    """Return how boto3's report differs from what the service did, or None if it does not."""
    service = clients.service
    [backup_id] = prepare(sequence, service)
    since = len(service.requests)
    try:
        clients.boto3[sequence.attempts].restore_backup(BackupId=backup_id)
        reported = True
    except Exception:
        reported = False
    service.clear_faults()
    restored = restored_by(service, since, backup_id)
    if reported == restored:
        return None
    return "reports success, not restored" if reported else "reports failure, restored"


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
    """Run random sequences from a seed, and raise with the smallest sequence that violates a claim."""
    tally = Tally()
    with nothing_left_open(), LocalCloudHsm() as service:
        clients = clients_of(service)

        @seed(start)
        @settings(
            max_examples=number,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=ALL_HEALTH_CHECKS,
            print_blob=True,
        )
        @given(sequences())
        def run_one(sequence: FaultSequence) -> None:
            run(sequence, clients, tally)

        try:
            run_one()
        finally:
            clients.close()
    return tally


# --- For comparison: boto3 and RestoreClient with the same fault ---


def single_faults() -> dict[str, tuple[Fault, ...]]:
    """Return the faults of the published table: each alone in the first attempt, and two in both attempts."""
    return {
        fault.value: (fault,) for fault in Fault if fault not in (Fault.STALE, Fault.CONNECTION_REFUSED)
    } | {
        "drop-after-work, then connection-refused": (Fault.DROP_AFTER_WORK, Fault.CONNECTION_REFUSED),
        "drop-after-work, then throttled": (Fault.DROP_AFTER_WORK, Fault.THROTTLED),
    }


def boto3_cell(sequence: FaultSequence, clients: Clients) -> str:
    """Return one cell of the table: what boto3 reports, and whether that is wrong."""
    service = clients.service
    [backup_id] = prepare(sequence, service)
    since = len(service.requests)
    try:
        response = clients.boto3[sequence.attempts].restore_backup(BackupId=backup_id)
        reported = True
        cell = "returns the backup" if response.get("Backup") else "returns a dict without a backup"
    except Exception as error:
        reported, cell = False, f"raises {type(error).__name__}"
    service.clear_faults()
    return cell + ("" if reported == restored_by(service, since, backup_id) else " (**wrong**)")


def restore_client_cell(sequence: FaultSequence, clients: Clients) -> str:
    """Return one cell of the table: what RestoreClient reports."""
    client = clients.restore[sequence.attempts]
    clients.set_recovery(client, True)
    [(_, outcome)] = outcomes(sequence, client, prepare(sequence, clients.service))
    clients.service.clear_faults()
    if not isinstance(outcome, RestoreError):
        return "returns the backup"
    return f"raises {type(outcome).__name__}" + (", outcome unknown" if outcome.outcome_unknown else "")


def table() -> Iterable[str]:
    """Yield the lines of the published table, in Markdown, with two attempts each."""
    yield ("| fault of the first request | boto3 `restore_backup` | `restore_backup` | `ensure_restored` |")
    yield "| --- | --- | --- | --- |"
    with LocalCloudHsm() as service:
        clients = Clients(service)
        for name, faults in single_faults().items():
            restore = FaultSequence("restore_backup", (BackupState.PENDING_DELETION,), 2, faults, None, True)
            ensure = FaultSequence("ensure_restored", restore.states, 2, faults, None, True)
            cells = [
                boto3_cell(restore, clients),
                restore_client_cell(restore, clients),
                restore_client_cell(ensure, clients),
            ]
            yield f"| {name} | {' | '.join(cells)} |"
        clients.close()


def compare(number: int, start: int) -> Mapping[str, int]:
    """Count boto3's misreports over random sequences of restore_backup, by kind."""
    reports: Counter[str] = Counter()
    with LocalCloudHsm() as service:
        clients = Clients(service)

        @seed(start)
        @settings(
            max_examples=number,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=ALL_HEALTH_CHECKS,
        )
        @given(sequences().filter(lambda sequence: sequence.call == "restore_backup"))
        def run_one(sequence: FaultSequence) -> None:
            reports[boto3_misreport(sequence, clients) or "correct"] += 1

        run_one()
        clients.close()
    return reports


def main() -> None:
    """Run the sequences, and print the counts and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asynchronous", action="store_true", help="with the asynchronous client")
    parser.add_argument("--table", action="store_true", help="print only the table of faults")
    arguments = parser.parse_args()
    if not arguments.table:
        tally = run_many(arguments.sequences, arguments.seed)
        print(
            f"seed {arguments.seed}: {tally.sequences} fault sequences, {tally.requests} requests, "
            "0 claims violated"
        )
        print(
            "outcomes: ", ", ".join(f"{number} {outcome}" for outcome, number in tally.outcomes.most_common())
        )
        print("faults:   ", ", ".join(f"{number} {fault}" for fault, number in tally.faults.most_common()))
        if arguments.asynchronous:
            return
        reports = compare(arguments.sequences // 2, arguments.seed)
        total = sum(reports.values())
        print(f"boto3, {total} sequences of restore_backup: ", end="")
        print(", ".join(f"{number} {report}" for report, number in sorted(reports.items())))
    for line in itertools.chain(["", ""][arguments.table :], table()):
        print(line)


if __name__ == "__main__":
    main()
