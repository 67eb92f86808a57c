"""The campaign: random schedules of faults, and what the clients say against what the service really did.

``make campaign`` plays 10,000 schedules and prints the tables, ``tests/test_campaign.py`` a few hundred.
A schedule that breaks a claim is shrunk by hypothesis and printed whole.

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
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cloudhsm_restore import BackupState, RestoreClient, RestoreError
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import VirtualTimeClient, make_async_client

READ_TIMEOUT: Final = 0.25
"""Seconds. A late answer comes after twice that."""

STATES: Final = [
    BackupState.PENDING_DELETION,
    BackupState.READY,
    BackupState.DELETED,
    BackupState.CREATE_IN_PROGRESS,
    None,  # no such backup
]

ALL_HEALTH_CHECKS: Final[list[Any]] = [*HealthCheck]  # hypothesis does not type what its enum yields


@dataclass(frozen=True)
class Schedule:
    """What is called, on which backups, how often boto3 tries, and which faults the requests meet in turn."""

    call: str
    states: tuple[BackupState | None, ...]
    attempts: int
    faults: tuple[Fault | None, ...]
    never_expires: bool | None
    recovers: bool
    """Whether the service listens again while the client waits."""


def schedules() -> st.SearchStrategy[Schedule]:
    """All schedules. A delay takes real time, so that there is seldom one."""
    quick = [fault for fault in Fault if fault is not Fault.DELAY]
    faults = st.lists(
        st.one_of(st.none(), st.sampled_from(quick), st.sampled_from(quick), st.sampled_from([*Fault])),
        max_size=6,
    )
    # STALE may show a backup READY that somebody has deleted a moment ago, and no client can know better:
    # DescribeBackups is the only witness there is. The documentation says so.
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
            Schedule,
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
    """What was counted over a campaign."""

    schedules: int = 0
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    misreports: list[str] = field(default_factory=list[str])


def retry_without_sleep(attempts: int) -> Any:
    """A handler for botocore's ``needs-retry``: it decides as botocore does, but there is no sleep."""

    def try_again(response: Any, caught_exception: Any, **tried: Any) -> int | None:
        status = response[0].status_code if response else 0
        code = response[1].get("Error", {}).get("Code") if response else ""
        passing = (
            isinstance(caught_exception, BotoCoreError) or status >= 500 or code == "ThrottlingException"
        )
        return 0 if passing and tried["attempts"] < attempts else None

    return try_again


OPTIONS: Final[Mapping[str, Any]] = {
    "retries": {"total_max_attempts": 1, "mode": "standard"},
    "read_timeout": READ_TIMEOUT,
    "max_pool_connections": 4,
}


class Clients:
    """Clients of one service that try 1, 2 or 3 times without sleeping in between."""

    def __init__(self, service: LocalCloudHsm) -> None:
        self.service = service
        self.boto3 = {attempts: self._boto3_client(attempts) for attempts in (1, 2, 3)}
        self.ours: dict[int, Any] = self._ours()

    def _ours(self) -> dict[int, Any]:
        return {attempts: VirtualTimeClient(client) for attempts, client in self.boto3.items()}

    def _boto3_client(self, attempts: int) -> Any:
        client = self.service.boto3_client(Config(**OPTIONS))
        client.meta.events.register_first("needs-retry.cloudhsm-v2", retry_without_sleep(attempts))
        return client

    def let_recover(self, client: Any, recovers: bool) -> None:
        """Let the service listen again while the client waits, or not."""
        sync = getattr(client, "_async", None)
        (sync._sync if sync else client).on_wait = self.service.listen if recovers else lambda: None

    def close(self) -> None:
        for client in self.boto3.values():
            client.close()


class AsyncClients(Clients):
    """The same with asynchronous clients as ours."""

    def _ours(self) -> dict[int, Any]:
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
        for client in self.ours.values():
            client.close()


def prepared(schedule: Schedule, service: LocalCloudHsm) -> list[str]:
    """The IDs of the schedule's backups, with its faults on the way."""
    ids: list[str] = []
    for state in schedule.states:
        backup = service.add_backup(backup_state=state or BackupState.READY)
        if state is None:
            service.remove_backup(backup.backup_id)
        ids.append(backup.backup_id)
    for fault in schedule.faults:
        if fault is not None:
            service.inject(fault, seconds=2 * READ_TIMEOUT)
    return ids


def restored_by(service: LocalCloudHsm, since: int, backup_id: str) -> bool:
    """Whether the service carried out a RestoreBackup for this backup since then."""
    return any(
        request.done and request.operation == "RestoreBackup" and request.backup_id == backup_id
        for request in service.requests[since:]
    )


def play(schedule: Schedule, clients: Clients, tally: Tally) -> None:
    """Play a schedule with our client, and raise AssertionError where a claim does not hold."""
    service = clients.service
    ids = prepared(schedule, service)
    since = len(service.requests)
    client = clients.ours[schedule.attempts]
    clients.let_recover(client, schedule.recovers)
    said = dict(outcomes(schedule, client, ids))
    service.clear_faults()
    tally.schedules += 1
    tally.requests += len(service.requests) - since
    tally.faults.update(request.fault for request in service.requests[since:] if request.fault)
    assert set(said) == set(ids)
    for backup_id, outcome in said.items():
        held = service.backups.get(backup_id)
        is_ready = held is not None and held.backup_state is BackupState.READY
        if isinstance(outcome, RestoreError):
            tally.outcomes["unknown" if outcome.outcome_unknown else "failed"] += 1
            known_ready = outcome.backup is not None and outcome.backup.backup_state is BackupState.READY
            if known_ready and not outcome.outcome_unknown:
                assert is_ready, f"{outcome!r} carries a READY backup, the service has {held}"
            elif not outcome.outcome_unknown:
                assert not restored_by(service, since, backup_id), f"{outcome!r} hides that it was restored"
        else:
            assert outcome.backup_id == backup_id
            if schedule.call == "restore_backup" and outcome.backup_state is not BackupState.READY:
                tally.outcomes["another state"] += 1  # as the service has answered; nobody is told READY
                continue
            tally.outcomes["restored"] += 1
            assert outcome.backup_state is BackupState.READY, outcome
            assert is_ready, f"said to be READY, the service has {held}"


def outcomes(schedule: Schedule, client: RestoreClient, ids: list[str]) -> Iterator[tuple[str, Any]]:
    """What the client says of each backup."""
    if schedule.call == "restore_backups":
        results = list(client.restore_backups(iter(ids), never_expires=schedule.never_expires, max_workers=3))
        assert len(results) == len(ids)
        for result in results:
            yield result.backup_id, result.backup or result.error
        return
    [backup_id] = ids
    try:
        if schedule.call == "restore_backup":
            yield backup_id, client.restore_backup(backup_id)
        else:
            yield (
                backup_id,
                client.ensure_restored(backup_id, never_expires=schedule.never_expires, timeout=60),
            )
    except RestoreError as error:
        yield backup_id, error


def boto3_misreports(schedule: Schedule, clients: Clients) -> str | None:
    """What plain boto3 gets wrong about the schedule: it says one thing, and the service did another."""
    service = clients.service
    [backup_id] = prepared(schedule, service)
    since = len(service.requests)
    try:
        clients.boto3[schedule.attempts].restore_backup(BackupId=backup_id)
        said = True
    except (ClientError, BotoCoreError):
        said = False
    except Exception:
        said = False
    service.clear_faults()
    did = restored_by(service, since, backup_id)
    if said == did:
        return None
    return "says restored, and it was not" if said else "says failed, and it was restored"


@contextmanager
def nothing_left_open() -> Generator[None]:
    """Fails if threads, sockets or other handles are left."""

    def handles() -> int:
        listed = Path("/proc/self/fd")
        return len(list(listed.iterdir())) if listed.is_dir() else 0

    threads, before = set(threading.enumerate()), handles()
    yield
    gc.collect()  # an exception and the frames in its traceback hold each other
    assert set(threading.enumerate()) <= threads, threading.enumerate()
    assert handles() <= before, f"{handles() - before} handles left open"


def campaign(number: int, start: int, clients_of: Callable[[LocalCloudHsm], Clients] = Clients) -> Tally:
    """Play ``number`` schedules from a seed; raises with the smallest schedule that breaks a claim."""
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
        @given(schedules())
        def run(schedule: Schedule) -> None:
            play(schedule, clients, tally)

        try:
            run()
        finally:
            clients.close()
    return tally


# --- The counter-example: one fault, boto3 and ours side by side ---


def single_faults() -> dict[str, tuple[Fault, ...]]:
    """The faults of the published table: each alone, met by the first try, and the worst, met by both."""
    return {
        fault.value: (fault,) for fault in Fault if fault not in (Fault.STALE, Fault.CONNECTION_REFUSED)
    } | {
        "drop-after-work, then connection-refused": (Fault.DROP_AFTER_WORK, Fault.CONNECTION_REFUSED),
        "drop-after-work, then throttled": (Fault.DROP_AFTER_WORK, Fault.THROTTLED),
    }


def said_by_boto3(schedule: Schedule, clients: Clients) -> str:
    """One cell of the table: what boto3 says, and whether that is so."""
    service = clients.service
    [backup_id] = prepared(schedule, service)
    since = len(service.requests)
    try:
        response = clients.boto3[schedule.attempts].restore_backup(BackupId=backup_id)
        said, what = (
            True,
            "returns the backup" if response.get("Backup") else "returns a dict without a backup",
        )
    except Exception as error:
        said, what = False, f"raises {type(error).__name__}"
    service.clear_faults()
    return what + ("" if said == restored_by(service, since, backup_id) else " (**wrong**)")


def said_by_ours(schedule: Schedule, clients: Clients) -> str:
    """One cell of the table: what our client says."""
    client = clients.ours[schedule.attempts]
    clients.let_recover(client, True)
    [(_, outcome)] = outcomes(schedule, client, prepared(schedule, clients.service))
    clients.service.clear_faults()
    if not isinstance(outcome, RestoreError):
        return "returns the backup"
    return f"raises {type(outcome).__name__}" + (", outcome unknown" if outcome.outcome_unknown else "")


def table() -> Iterable[str]:
    """The published table, in Markdown, two tries each."""
    yield (
        "| the first request meets | boto3 `restore_backup` | our `restore_backup` | our `ensure_restored` |"
    )
    yield "| --- | --- | --- | --- |"
    with LocalCloudHsm() as service:
        clients = Clients(service)
        for name, faults in single_faults().items():
            one = Schedule("restore_backup", (BackupState.PENDING_DELETION,), 2, faults, None, True)
            both = Schedule("ensure_restored", one.states, 2, faults, None, True)
            cells = [said_by_boto3(one, clients), said_by_ours(one, clients), said_by_ours(both, clients)]
            yield f"| {name} | {' | '.join(cells)} |"
        clients.close()


def compared(number: int, start: int) -> Mapping[str, int]:
    """How often plain boto3 misreports under random schedules of its own call, by kind."""
    wrong: Counter[str] = Counter()
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
        @given(schedules().filter(lambda schedule: schedule.call == "restore_backup"))
        def run(schedule: Schedule) -> None:
            wrong[boto3_misreports(schedule, clients) or "right"] += 1

        run()
        clients.close()
    return wrong


def main() -> None:
    """Play the campaign and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asynchronous", action="store_true", help="with the asynchronous client")
    parser.add_argument("--table", action="store_true", help="print only the table of faults")
    arguments = parser.parse_args()
    if not arguments.table:
        tally = campaign(arguments.schedules, arguments.seed)
        print(
            f"seed {arguments.seed}: {tally.schedules} schedules, {tally.requests} requests, 0 claims broken"
        )
        print("outcomes: ", ", ".join(f"{number} {what}" for what, number in tally.outcomes.most_common()))
        print("faults met:", ", ".join(f"{number} {what}" for what, number in tally.faults.most_common()))
        if arguments.asynchronous:
            return
        wrong = compared(arguments.schedules // 2, arguments.seed)
        total = sum(wrong.values())
        print(f"plain boto3, {total} schedules of restore_backup: ", end="")
        print(", ".join(f"{number} {what}" for what, number in sorted(wrong.items())))
    for line in itertools.chain(["", ""][arguments.table :], table()):
        print(line)


if __name__ == "__main__":
    main()
