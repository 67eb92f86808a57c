"""Virtual time: waits end at once, ``timeout`` counts them, and the requests are those of real time."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.config import Config

from cloudhsm_restore import Backup, RestoreClient, RestoreError, ThrottlingError, WaitTimeoutError
from cloudhsm_restore.testing import AsyncRestoreStubber, Fault, LocalCloudHsm, RestoreStubber

ID = "backup-a2b3c4d5e6f"
MANY = 2000
"""More throttled responses than fit into any timeout."""

# How many throttled responses, of which operation, and how ensure_restored is called.
SCENARIOS: Mapping[str, tuple[int, str, Mapping[str, Any]]] = {
    "20 throttled responses": (20, "RestoreBackup", {"timeout": 3600}),
    "a timeout of 300 s": (MANY, "RestoreBackup", {}),
    "an expired exemption": (MANY, "ModifyBackupAttributes", {"never_expires": True}),
}
Stubber = RestoreStubber | AsyncRestoreStubber


@contextmanager
def fast() -> Generator[None]:
    """Fails if the block waits in real time, which would be a minute at least.

    It takes less than 0.1 s. On a busy machine that is not certain, so the limit here is far above it.
    """
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < 30


def ensure_restored(client: Any, **options: Any) -> Backup | RestoreError:
    """Call a client of either kind, always with the same random numbers; return what it returns or raises."""
    random.seed(18)
    try:
        if isinstance(client, RestoreClient):
            return client.ensure_restored(ID, **options)
        backup: Backup = asyncio.run(client.ensure_restored(ID, **options))
    except RestoreError as error:
        return error
    return backup


def queue(stub: Stubber, throttled: int, operation: str, *, succeed: bool) -> None:
    """Queue throttled responses for an operation, and the successes before and after them."""
    if operation == "ModifyBackupAttributes":
        stub.add_backup(backup_id=ID)
    for _ in range(throttled):
        stub.add_error(ThrottlingError, operation=operation)
    if succeed:
        stub.add_backup(backup_id=ID)


def used(throttled: int, operation: str, options: Mapping[str, Any]) -> int:
    """How many of the throttled responses are used."""
    unused = 0
    try:
        with RestoreStubber() as stub:
            queue(stub, throttled, operation, succeed=throttled < MANY)
            ensure_restored(stub.client, **options)
    except AssertionError as error:
        unused = int(re.findall(r"(\d+) responses remaining", str(error))[0])
    return throttled - unused


def check(scenario: str, outcome: Backup | RestoreError, waits: list[float]) -> None:
    """Check the outcome of a scenario, and that its waits fill its timeout."""
    if scenario == "20 throttled responses":
        assert isinstance(outcome, Backup)
        assert 1 < sum(waits) < 3600
        return
    assert isinstance(outcome, WaitTimeoutError)
    exempt = scenario == "an expired exemption"
    assert (outcome.backup is not None and outcome.backup.backup_state == "READY") is exempt
    assert 250 < sum(waits) <= 300


@pytest.fixture
def waits(caplog: pytest.LogCaptureFixture) -> Callable[[], list[float]]:
    """The seconds of the waits that the library has logged."""
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    return lambda: [
        vars(each)["cloudhsm_wait_seconds"]
        for each in caplog.records
        if "cloudhsm_wait_seconds" in vars(each)
    ]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    "kind", ["RestoreStubber", "AsyncRestoreStubber", "restore_stubber", "async_restore_stubber"]
)
def test_stubbers_and_their_fixtures(
    kind: str, scenario: str, request: pytest.FixtureRequest, waits: Callable[[], list[float]]
) -> None:
    """Each scenario takes less than 0.1 s with each stubber and each fixture, and uses the same responses."""
    throttled, operation, options = SCENARIOS[scenario]
    needed = used(throttled, operation, options)
    assert needed >= 20
    made = {"RestoreStubber": RestoreStubber, "AsyncRestoreStubber": AsyncRestoreStubber}
    stub: Any = made[kind]() if kind in made else request.getfixturevalue(kind)
    queue(stub, needed, operation, succeed=throttled < MANY)
    before = len(waits())
    with fast():
        outcome = ensure_restored(stub.client, **options)
    check(scenario, outcome, waits()[before:])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_local_service(
    scenario: str, local_cloudhsm: LocalCloudHsm, waits: Callable[[], list[float]]
) -> None:
    """Each scenario takes less than 0.1 s over a connection."""
    throttled, operation, options = SCENARIOS[scenario]
    local_cloudhsm.add_backup(backup_id=ID, backup_state="PENDING_DELETION")
    local_cloudhsm.inject(Fault.THROTTLED, operation, throttled)
    config = Config(retries={"mode": "standard", "total_max_attempts": 3})  # as of boto3 1.44
    with local_cloudhsm.client(config, virtual_time=True) as client:
        client.get_backup(ID)  # connects
        with fast():
            outcome = ensure_restored(client, **options)
    check(scenario, outcome, waits())


@pytest.mark.parametrize(
    ("throttled", "operation", "attempts", "options"),
    [
        (MANY, "RestoreBackup", 1, {"timeout": 2.0}),
        (MANY, "ModifyBackupAttributes", 1, {"timeout": 2.0, "never_expires": True}),
        (5, "RestoreBackup", 3, {}),
    ],
)
def test_the_requests_are_those_of_real_time(
    throttled: int, operation: str, attempts: int, options: Mapping[str, Any]
) -> None:
    """The same random numbers give the same requests, whether the client and boto3 sleep or not."""
    config = Config(retries={"total_max_attempts": attempts})
    seen: list[Any] = []
    took: list[float] = []
    for virtual_time in (False, True):
        with LocalCloudHsm() as service, service.client(config, virtual_time=virtual_time) as client:
            service.add_backup(backup_id=ID, backup_state="PENDING_DELETION")
            service.inject(Fault.DROP_BEFORE_WORK, "RestoreBackup")
            service.inject(Fault.THROTTLED, operation, throttled)
            began = time.perf_counter()
            outcome = ensure_restored(client, **options)
            took.append(time.perf_counter() - began)
            seen.append([type(outcome), *((each.operation, each.fault) for each in service.requests)])
    assert seen[0] == seen[1]
    assert len(seen[0]) > 5
    assert took[0] > 1.0
    assert took[1] < took[0] / 5


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_many_at_a_time(kind: str) -> None:
    """restore_backups waits in virtual time as well, with a timeout for each backup."""
    ids = [f"backup-{number}" for number in range(20)]
    stub = RestoreStubber() if kind == "sync" else AsyncRestoreStubber()
    for _ in ids:
        stub.add_error(ThrottlingError)
    for _ in ids:
        stub.add_backup()

    async def results(client: Any) -> list[Any]:
        return [each async for each in client.restore_backups(ids)]

    with fast():
        if isinstance(stub, RestoreStubber):
            restored = [*stub.client.restore_backups(ids)]
        else:
            restored = asyncio.run(results(stub.client))
    assert sorted(each.unwrap().backup_id for each in restored) == sorted(ids)
