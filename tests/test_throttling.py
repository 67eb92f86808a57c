"""Throttling: the restores of one call share a rate of requests, which they learn from the responses."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders

from cloudhsm_restore import ParameterError, RestoreClient, RestoreError, WaitTimeoutError
from cloudhsm_restore._backoff import Throttle
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import VirtualTimeClient, config, session
from .conftest import MakeClient
from .fault_injection import retry_without_sleep

ACCEPTED = {"Backup": {}, "ResponseMetadata": {"HTTPStatusCode": 200}}
THROTTLED = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}


def pending(service: LocalCloudHsm, number: int) -> list[str]:
    """Add backups that are pending deletion, and return their IDs."""
    return [service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(number)]


class Body:
    """The body of a response, as botocore reads it."""

    @staticmethod
    def stream() -> list[bytes]:
        """Return it."""
        return [b'{"__type": "ThrottlingException", "message": "Rate exceeded"}']


class Limit:
    """A limit before the service: a token bucket that holds the requests of one second."""

    def __init__(self, client: RestoreClient, rate: int) -> None:
        self._rate = self._tokens = float(rate)
        self._filled = time.monotonic()
        self._lock = threading.Lock()
        self.accepted = self.throttled = 0
        client._client.meta.events.register("before-send.cloudhsm-v2", self._on_send)

    def _on_send(self, request: Any, **_: object) -> Any:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens >= 1:
                self._tokens -= 1
                self.accepted += 1
                return None
            self.throttled += 1
        return AWSResponse(request.url, 400, HTTPHeaders(), Body)


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_few_requests_are_throttled(
    service: LocalCloudHsm, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With any retry mode all backups are restored, few requests are throttled, and the log has the waits."""
    caplog.set_level(logging.INFO, "cloudhsm_restore")
    options = config(retries={"mode": mode, "total_max_attempts": 3})
    with RestoreClient(session=session(), endpoint_url=service.endpoint_url, config=options) as client:
        limit = Limit(client, 100)
        results = [*client.restore_backups(pending(service, 300))]
    assert all(result.ok for result in results)
    assert limit.accepted == 300
    assert 0 < limit.throttled < 150  # About 35. A backoff alone would lead to as many as there are restores.
    causes = {vars(each).get("cloudhsm_wait_cause") for each in caplog.records} - {None}
    assert "another restore was throttled" in causes
    assert causes <= {"throttled", "another restore was throttled"}


def test_one_throttled_request_delays_the_other_restores(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a request is throttled, the restores of the same call wait for their turn."""
    caplog.set_level(logging.INFO, "cloudhsm_restore")

    def source() -> Iterator[str]:
        yield from pending(service, 30)
        service.inject(Fault.THROTTLED, "RestoreBackup")
        yield from pending(service, 30)

    client = make_client(service.endpoint_url)
    assert all(result.ok for result in client.restore_backups(source()))
    assert "another restore was throttled" in {
        vars(each).get("cloudhsm_wait_cause") for each in caplog.records
    }


def test_without_throttling_there_is_no_wait(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """No restore waits for another one until a request is throttled."""
    client: Any = make_client(service.endpoint_url)
    assert all(result.ok for result in client.restore_backups(pending(service, 100)))
    assert client.waits == []


def test_lost_responses_are_not_throttling(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Only the restores whose response was lost, or that failed, wait."""
    client: Any = make_client(service.endpoint_url)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup", 20)
    service.inject(Fault.INTERNAL_FAILURE_BEFORE_WORK, "RestoreBackup", 20)
    assert all(result.ok for result in client.restore_backups(pending(service, 100)))
    assert len(client.waits) <= 40


def test_retries_of_boto3_wait_only_for_boto3(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Without a limit, a retry of boto3 is sent as soon as boto3 sends it."""
    retries = {"mode": "standard", "total_max_attempts": 2}
    client: Any = make_client(service.endpoint_url, retries=retries)
    service.inject(Fault.INTERNAL_FAILURE_BEFORE_WORK, "RestoreBackup")
    client.ensure_restored(*pending(service, 1))
    assert len(service.requests) == 2
    assert client.waits == []


# --- The rate, without requests ---


def advance(throttle: Throttle, seconds: float) -> None:
    """Let time pass."""
    throttle.clock.advance_to(throttle.clock.now() + seconds)


def accept(throttle: Throttle, number: int, interval: float) -> None:
    """Let the service accept requests."""
    for _ in range(number):
        advance(throttle, interval)
        throttle.learn(ACCEPTED)


def turns(throttle: Throttle, number: int) -> list[float]:
    """Return how long each of some requests waits for its turn, if all of them come at the same time."""
    return [sum(throttle.delays(0.0, lambda: 300.0)) for _ in range(number)]


def test_the_rate_is_a_little_less_than_the_service_accepts() -> None:
    """After a throttled request, the others follow at nine tenths of the rate of the accepted ones."""
    throttle = Throttle()
    accept(throttle, 20, 0.5)
    assert turns(throttle, 3) == [0.0, 0.0, 0.0]
    throttle.learn(THROTTLED)
    assert turns(throttle, 3) == pytest.approx([0.55, 1.1, 1.65], abs=0.1)


def test_a_burst_of_throttled_requests_counts_once() -> None:
    """Eight throttled requests lower the rate no more than one of them."""
    throttle = Throttle()
    accept(throttle, 20, 0.5)
    for _ in range(8):
        throttle.learn(THROTTLED)
    assert turns(throttle, 2) == pytest.approx([0.55, 1.1], abs=0.1)


def test_the_rate_recovers() -> None:
    """When nothing is throttled any more, a hundred accepted requests later the limit is gone."""
    throttle = Throttle()
    accept(throttle, 20, 0.5)
    throttle.learn(THROTTLED)
    accept(throttle, 10, 0.5)
    assert turns(throttle, 2)[1] > 0.4
    accept(throttle, 100, 0.5)
    assert turns(throttle, 2)[1] < 0.01


def test_the_rate_is_not_that_of_a_service_that_accepts_nothing() -> None:
    """After a minute in which all is throttled, the rate is that of before."""
    throttle = Throttle()
    accept(throttle, 20, 0.5)
    for _ in range(60):
        advance(throttle, 1.0)
        throttle.learn(THROTTLED)
    assert turns(throttle, 1) == pytest.approx([0.55], abs=0.1)


def test_there_is_a_lowest_rate() -> None:
    """No interval is longer than two seconds: the backoff of each restore does the rest."""
    throttle = Throttle()
    accept(throttle, 20, 30.0)
    throttle.learn(THROTTLED)
    assert turns(throttle, 2) == pytest.approx([2.0, 4.0], abs=0.1)


def test_those_that_wait_line_up_again() -> None:
    """If a request is throttled while others wait, they wait for their turn at the lower rate."""
    throttle = Throttle()
    accept(throttle, 20, 0.1)
    throttle.learn(THROTTLED)
    waiting = [throttle.delays(0.0, lambda: 300.0) for _ in range(3)]
    assert [next(each) for each in waiting] == pytest.approx([0.11, 0.22, 0.33], abs=0.05)
    accept(throttle, 8, 1.0)
    throttle.learn(THROTTLED)
    assert [next(each, None) for each in waiting] == pytest.approx([1.1, 2.2, 3.3], abs=0.1)
    assert [next(each, None) for each in waiting] == [None, None, None]


def test_nothing_waits_for_its_turn_beyond_its_deadline() -> None:
    """A wait ends just before the deadline of its restore, and after the deadline there is none."""
    throttle = Throttle()
    accept(throttle, 20, 1.0)
    throttle.learn(THROTTLED)
    assert [*throttle.delays(0.0, lambda: 0.25)] == pytest.approx([0.15], abs=0.01)
    assert [*throttle.delays(0.0, lambda: -1.0)] == []


def test_a_turn_after_a_deadline_is_left_to_others() -> None:
    """However many restores cannot wait for their turn, the next one waits no longer for it."""
    throttle = Throttle()
    accept(throttle, 20, 1.0)
    throttle.learn(THROTTLED)
    for _ in range(100):
        assert sum(throttle.delays(0.0, lambda: 3.0)) < 3.0
    assert turns(throttle, 1)[0] < 5.0


def test_a_retry_is_signed_when_its_turn_has_come(service: LocalCloudHsm) -> None:
    """A signature is valid for five minutes, so that no wait comes between it and the request."""
    boto3_client = service.boto3_client()
    # boto3 retries without a sleep, in which the turn could come.
    boto3_client.meta.events.register_first("needs-retry.cloudhsm-v2", retry_without_sleep(3))
    client = VirtualTimeClient(boto3_client)
    events: list[str] = []
    client.on_wait = lambda: events.append("wait")
    for event in ("before-sign", "before-send"):
        boto3_client.meta.events.register(f"{event}.cloudhsm-v2", partial(note, events, event))
    service.inject(Fault.DELAY, "RestoreBackup", 9, seconds=0.05)
    service.inject(Fault.THROTTLED, "RestoreBackup", 2)
    assert all(result.ok for result in client.restore_backups(pending(service, 12), max_workers=1))
    assert "wait" in events
    assert {after for before, after in pairwise(events) if before == "before-sign"} == {"before-send"}
    boto3_client.close()


def test_a_burst_before_a_rate_is_known_sets_none(service: LocalCloudHsm) -> None:
    """If the first requests of a batch are throttled, each of these restores has its own backoff alone."""
    service.inject(Fault.THROTTLED, "RestoreBackup", 20)
    with RestoreClient(session=session(), endpoint_url=service.endpoint_url, config=config()) as client:
        assert all(result.ok for result in client.restore_backups(pending(service, 40), timeout=15))


def note(events: list[str], event: str, **_: object) -> None:
    """Add an event to the list."""
    events.append(event)


def test_an_invalid_id_needs_no_turn(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An invalid ID among restores that are throttled is reported as such, without a wait."""
    client: Any = make_client(service.endpoint_url)
    service.inject(Fault.DELAY, "RestoreBackup", 9, seconds=0.05)
    service.inject(Fault.THROTTLED, "RestoreBackup")
    waits: list[int] = []

    def source() -> Iterator[str]:
        yield from pending(service, 10)
        waits.append(len(client.waits))
        yield from ["", "arn:x"] * 10

    results = [*client.restore_backups(source(), max_workers=1)]
    assert sum(isinstance(each.error, ParameterError) for each in results) == 20
    assert len(client.waits) <= waits[0] + 3  # those of the restores before


def test_the_shared_clock_never_goes_back() -> None:
    """Threads that read the clock and end their waits see it only go forward."""
    clock = Throttle().clock
    backward: list[float] = []

    def work() -> None:
        last = clock.now()
        for _ in range(2_000):
            clock.advance_to(last + 1.0)
            now = clock.now()
            if now < last + 1.0:
                backward.append(now)
            last = now

    threads = [threading.Thread(target=work) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert backward == []


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_timeout_of_a_restore_counts_the_wait_for_its_turn(
    service: LocalCloudHsm, make_client: MakeClient, attempts: int
) -> None:
    """A restore whose turn does not come in time ends with WaitTimeoutError, and sends nothing late."""
    client: Any = make_client(
        service.endpoint_url, retries={"mode": "standard", "total_max_attempts": attempts}
    )
    ids = pending(service, 18)
    assert all(result.ok for result in client.restore_backups(ids[:10]))
    service.inject(Fault.THROTTLED, "RestoreBackup", 10_000)
    results = [*client.restore_backups(ids[10:], timeout=2.0)]
    errors: list[RestoreError | None] = [result.error for result in results]
    assert all(isinstance(each, WaitTimeoutError) for each in errors)
    assert not any(each.outcome_unknown for each in errors if each is not None)
    assert max(client.waits) <= 2.0
