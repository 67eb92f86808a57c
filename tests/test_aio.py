"""What only the asynchronous client has: cancellation, event loops, and asynchronous sources.

The behavior that both clients share is tested elsewhere, for both from one source (`clients.BlockingClient`).
"""

import asyncio
import gc
import inspect
import logging
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from importlib import import_module
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.config import Config

from cloudhsm_restore import (
    AsyncRestoreClient,
    Backup,
    BackupState,
    ConfigurationError,
    ParameterError,
    RestoreClient,
    RestoreError,
    RestoreResult,
)
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .clients import OPTIONS, config
from .raw_server import BACKUP_ID, RESTORED, RawServer

READY, PENDING_DELETION = BackupState.READY, BackupState.PENDING_DELETION
pytestmark = pytest.mark.usefixtures("credentials")

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
        return loop
    loop = asyncio.new_event_loop()
    if kind == "eager tasks":
        loop.set_task_factory(vars(asyncio)["eager_task_factory"])
    return loop


EAGER = ["eager tasks"] if hasattr(asyncio, "eager_task_factory") else []  # Python 3.12


@pytest.fixture(params=["asyncio", "uvloop", *EAGER])
def run(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Run:
    """Runs a coroutine in debug mode. No task, no thread, and no complaint of asyncio's may remain."""

    async def watched(work: Coroutine[Any, Any, Any]) -> Any:
        asyncio.get_running_loop().slow_callback_duration = 10  # boto3 loads its models in the constructor.
        result = await work
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(debug=True, loop_factory=lambda: new_loop(request.param)) as runner:
            result = runner.run(watched(work))
        assert no_threads()
        gc.collect()  # What was not closed warns now, and a warning is an error.
        assert [record for record in caplog.records if record.name == "asyncio" and record.levelno > 20] == []
        return result

    return run


def config_of(**options: Any) -> Config:
    return Config(**(dict(OPTIONS) | options))


def new_client(service: LocalCloudHsm | str, **options: Any) -> AsyncRestoreClient:
    url = service if isinstance(service, str) else service.endpoint_url
    return AsyncRestoreClient(endpoint_url=url, config=config_of(**options))


def pending(service: LocalCloudHsm, count: int) -> list[str]:
    return [service.add_backup(backup_state=PENDING_DELETION).backup_id for _ in range(count)]


def outcomes(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """Return the outcomes in the log of the restores whose results were not returned, by backup ID."""
    found: dict[str, str] = {}
    for record in caplog.records:
        fields = vars(record)
        if record.name == "cloudhsm_restore" and "cloudhsm_outcome" in fields:
            assert record.levelno == logging.WARNING
            assert fields["cloudhsm_backup_id"] not in found, "each is logged once"
            found[fields["cloudhsm_backup_id"]] = fields["cloudhsm_outcome"]
    return found


def no_threads() -> bool:
    """Return whether no thread of the library is left, once the requests in flight have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("cloudhsm-restore"):
            thread.join(timeout=30)
    return not any(thread.name.startswith("cloudhsm-restore") for thread in threading.enumerate())


async def soon(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def nothing_runs() -> bool:
    """Return whether the loop has no other task."""
    return asyncio.all_tasks() == {asyncio.current_task()}


# --- Clients and loops ---


def test_a_client_is_created_immediately_and_without_a_loop(service: LocalCloudHsm) -> None:
    """One client serves several event loops, one after another, as in a Lambda function."""
    client = new_client(service)
    for backup_id in pending(service, 3):
        assert asyncio.run(client.ensure_restored(backup_id)).backup_state is READY
    asyncio.run(client.close())


def test_event_loops_side_by_side(service: LocalCloudHsm) -> None:
    """Several threads, each with an event loop, share a client."""
    client = new_client(service)
    states: list[object] = []

    def restore(backup_id: str) -> None:
        states.append(asyncio.run(client.ensure_restored(backup_id)).backup_state)

    threads = [threading.Thread(target=restore, args=[backup_id]) for backup_id in pending(service, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == [READY] * 8
    asyncio.run(client.close())


@pytest.mark.parametrize(
    "arguments",
    [{"endpoint_url": "nonsense"}, {"endpoint_url": "http://127.0.0.1:99999"}, {"region_name": "x y"}],
)
def test_the_constructor_raises_what_restore_client_raises(arguments: dict[str, Any]) -> None:
    """A client that cannot be created is a ConfigurationError, and wrong arguments are a TypeError."""
    with pytest.raises(ConfigurationError):
        AsyncRestoreClient(**arguments)
    wrong: Any
    for wrong in ({"session": "prod"}, {"client": object()}):
        with pytest.raises(TypeError):
            AsyncRestoreClient(**wrong)


def test_a_client_that_was_passed_stays_open(run: Run, service: LocalCloudHsm) -> None:
    """It is boto3's, its user closes it, and no other argument can be passed with it."""
    boto3_client = service.boto3_client()

    async def main() -> None:
        async with AsyncRestoreClient(boto3_client) as client:
            await client.restore_backup(pending(service, 1)[0])

    run(main())
    boto3_client.describe_backups()
    wrong: Any = {"region_name": "us-east-1"}
    with pytest.raises(TypeError, match="pass either client, or session"):
        AsyncRestoreClient(boto3_client, **wrong)
    boto3_client.close()


def test_a_call_of_a_closed_client(run: Run, service: LocalCloudHsm) -> None:
    """It is an error with advice of its own, and nothing is sent."""

    async def main() -> None:
        client = new_client(service)
        await client.close()
        await client.close()
        for call in (client.restore_backup, client.get_backup, client.ensure_restored):
            with pytest.raises(ConfigurationError, match=r"is closed\. .*Create a new client") as caught:
                await call(BACKUP_ID)
            assert not caught.value.outcome_unknown
        with pytest.raises(ConfigurationError):
            await anext(client.restore_backups([BACKUP_ID]))
        with pytest.raises(ConfigurationError):
            await anext(client.describe_backups())

    run(main())
    assert service.requests == ()


def test_context_variables_reach_the_thread(run: Run, service: LocalCloudHsm) -> None:
    """A trace or request ID of the caller is there in boto3's event handlers."""
    trace: ContextVar[str] = ContextVar("trace", default="lost")
    seen: list[str] = []
    boto3_client = service.boto3_client()

    def note(**_: object) -> None:
        seen.append(trace.get())

    boto3_client.meta.events.register("before-send.cloudhsm-v2", note)

    async def main() -> None:
        async with AsyncRestoreClient(boto3_client) as client:
            trace.set("incident-17")
            first, *others = pending(service, 3)
            await client.ensure_restored(first)
            assert len([result async for result in client.restore_backups(others)]) == 2

    run(main())
    assert seen == ["incident-17"] * 3
    boto3_client.close()


def test_asyncios_default_executor_stays_free(run: Run, service: LocalCloudHsm) -> None:
    """Other code needs it: the calls run in threads of the client."""

    async def main() -> None:
        async with new_client(service) as client:
            await client.restore_backup(pending(service, 1)[0])
        assert not any(thread.name.startswith("asyncio") for thread in threading.enumerate())

    run(main())


def test_a_mock_that_is_exhausted_raises_in_the_caller(run: Run) -> None:
    """A Future cannot hold the StopIteration of a mock without responses; the call must not hang."""
    mock = Mock(spec=["restore_backup", "close"])
    mock.restore_backup.side_effect = []

    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            async with asyncio.timeout(10):
                await AsyncRestoreClient(mock).restore_backup(BACKUP_ID)

    run(main())


# --- Cancellation ---


@pytest.mark.parametrize("bug", [ZeroDivisionError(), KeyError("x")])
def test_the_log_has_the_outcome_of_a_cancelled_restore_with_a_bug(
    service: LocalCloudHsm, caplog: pytest.LogCaptureFixture, bug: Exception
) -> None:
    """If an event handler of the application fails after the cancellation, the outcome is unknown."""
    [backup_id] = pending(service, 1)
    hold = threading.Event()
    boto3_client = service.boto3_client(config())

    def fail(**_: object) -> None:
        hold.wait(10)
        raise bug

    boto3_client.meta.events.register("before-parse.cloudhsm-v2", fail)

    async def main() -> None:
        async with AsyncRestoreClient(boto3_client) as client:
            task = asyncio.create_task(client.restore_backup(backup_id))
            await soon(lambda: bool(service.requests))
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            hold.set()
            await soon(lambda: bool(outcomes(caplog)))

    asyncio.run(main())
    assert outcomes(caplog) == {backup_id: "unknown"}
    boto3_client.close()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.DELAY, "restored"),
        (Fault.THROTTLED, "not_restored"),
        (Fault.ACCESS_DENIED, "not_restored"),
        (Fault.DROP_AFTER_WORK, "unknown"),
        (Fault.EMPTY_BODY, "unknown"),
    ],
)
@pytest.mark.parametrize("call", ["restore_backup", "ensure_restored"])
def test_the_log_has_the_outcome_of_a_cancelled_restore(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture, call: str, fault: Fault, outcome: str
) -> None:
    """CancelledError comes at once. The request in flight ends in its thread, and is the last."""
    [backup_id] = pending(service, 1)
    service.inject(fault, "RestoreBackup")
    hold = threading.Event()
    boto3_client = service.boto3_client(config(retries={"total_max_attempts": 5}))

    def wait(**_: object) -> None:
        hold.wait(10)

    event = "response-received" if fault is Fault.DROP_AFTER_WORK else "before-parse"
    boto3_client.meta.events.register(f"{event}.cloudhsm-v2", wait)

    async def main() -> None:
        async with AsyncRestoreClient(boto3_client) as client:
            task = asyncio.create_task(getattr(client, call)(backup_id))
            await soon(lambda: bool(service.requests))
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 5
            assert outcomes(caplog) == {}
            hold.set()
            await soon(lambda: bool(outcomes(caplog)))

    run(main())
    assert outcomes(caplog) == {backup_id: outcome}
    assert len(service.requests) == 1
    boto3_client.close()


def test_a_restore_that_waits_is_cancelled(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """It is woken and sends nothing more, and the log has the outcome of its last attempt."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.THROTTLED, times=99)

    async def main() -> None:
        async with new_client(service) as client:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(1):
                    await client.ensure_restored(backup_id)
            assert not isinstance(caught.value, RestoreError)
            await soon(lambda: bool(outcomes(caplog)))
            sent = len(service.requests)
            await asyncio.sleep(0.5)
            assert len(service.requests) == sent

    run(main())
    assert outcomes(caplog) == {backup_id: "not_restored"}


def test_closing_the_client_cancels_its_calls(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """After `close` nothing is sent, and each call raises CancelledError."""
    ids = pending(service, 3)
    service.inject(Fault.THROTTLED, times=99)

    async def main() -> None:
        client = new_client(service)
        tasks = [asyncio.create_task(client.ensure_restored(backup_id)) for backup_id in ids]
        await soon(lambda: len(service.requests) >= 3)
        await client.close()
        sent = len(service.requests)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done)
        await asyncio.sleep(0.5)
        assert len(service.requests) <= sent + 3

    run(main())
    assert outcomes(caplog) == dict.fromkeys(ids, "not_restored")


def test_closing_after_the_loop_of_a_call_was_closed(service: LocalCloudHsm) -> None:
    """A call whose event loop is closed sends nothing after `close`, which runs in another loop."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.THROTTLED, times=99)
    client = new_client(service)
    work = client.ensure_restored(backup_id)

    async def main() -> None:
        _ = work.send(None)
        await soon(lambda: bool(service.requests))

    asyncio.run(main())
    began = time.monotonic()
    asyncio.run(client.close())
    assert no_threads()
    assert time.monotonic() - began < 20  # Without it, the thread retries for 300 seconds.
    work.close()


def test_closing_while_a_call_is_submitted(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is cancelled although another event loop closes the client right after its thread started."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.THROTTLED, times=99)
    client = new_client(service)
    submit = client._threads.submit

    def submit_and_close(*arguments: Any) -> None:
        submit(*arguments)
        thread = threading.Thread(target=lambda: asyncio.run(client.close()))
        thread.start()
        thread.join()

    monkeypatch.setattr(client._threads, "submit", submit_and_close)

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await client.ensure_restored(backup_id, timeout=10)

    asyncio.run(main())
    assert no_threads()


def test_a_call_that_waits_for_a_thread_is_cancelled(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """It has sent nothing and never will, and there is nothing to log."""
    first, second = pending(service, 2)
    service.inject(Fault.DELAY, "RestoreBackup", seconds=0.5)

    async def main() -> None:
        async with new_client(service, max_pool_connections=1) as client:
            busy = asyncio.create_task(client.restore_backup(first))
            await soon(lambda: bool(service.requests))
            waiting = asyncio.create_task(client.restore_backup(second))
            await asyncio.sleep(0.05)
            waiting.cancel()
            assert (await busy).backup_state is READY
            assert waiting.cancelled()

    run(main())
    assert outcomes(caplog) == {}
    assert len(service.requests) == 1


def test_a_cancelled_read_is_not_logged(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled DescribeBackups leaves nothing unknown."""
    service.inject(Fault.DELAY, "DescribeBackups", seconds=0.5)

    async def main() -> None:
        async with new_client(service) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.15):
                    await client.get_backup(BACKUP_ID)

    run(main())
    assert [record for record in caplog.records if record.name == "cloudhsm_restore"] == []


@pytest.mark.parametrize("seed", range(2))
def test_cancelled_at_any_moment(
    run: Run, service: LocalCloudHsm, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whenever it comes, no task and no connection is left, and the log agrees with the service."""
    chance = random.Random(seed)
    ids = pending(service, 40)

    async def restore_all(client: AsyncRestoreClient) -> Any:
        async with aclosing(client.restore_backups(ids)) as results:
            async for _ in results:
                pass

    async def main() -> None:
        for _ in range(25):
            client = new_client(service)
            before = len(service.requests)
            one = chance.random() < 0.5
            work = client.ensure_restored(chance.choice(ids)) if one else restore_all(client)
            task = asyncio.create_task(work)
            await asyncio.sleep(chance.random() * 0.08)
            arrives = task.cancel()
            if chance.random() < 0.5:
                await asyncio.sleep(0)
                task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            assert not arrives or isinstance(outcome, asyncio.CancelledError)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await client.close()
            sent = len(service.requests)
            await asyncio.to_thread(no_threads)
            assert len(service.requests) <= sent + 10, "at most the requests that were in flight"
            restored = {each.backup_id for each in service.requests[before:] if each.done}
            for backup_id, outcome in outcomes(caplog).items():
                assert outcome != "restored" or service.backups[backup_id].backup_state is READY
                assert outcome != "not_restored" or backup_id not in restored
            caplog.clear()
            for each in chance.sample(ids, 10):
                service.change_backup(each, backup_state=PENDING_DELETION)

    run(main())


@pytest.mark.parametrize("how", ["aclosing", "break", "error", "cancel"])
def test_an_abandoned_iterator(
    run: Run, service: LocalCloudHsm, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing new is sent, and the log has the outcome of each restore that was in flight."""
    ids = pending(service, 30)
    service.inject(Fault.DELAY, "RestoreBackup", times=30, seconds=0.3)
    service.change_backup(ids[0], backup_state=READY)

    async def main() -> None:
        async with new_client(service) as client:
            await client.get_backup(ids[0])
            results = client.restore_backups([" bad ", *ids], max_workers=4)
            if how == "aclosing":
                async with aclosing(results):
                    await anext(results)
            elif how == "break":
                async for _ in results:
                    break
                del results
                await soon(nothing_runs)  # the loop closes it
            elif how == "error":
                with pytest.raises(ZeroDivisionError):
                    async with aclosing(results):
                        async for _ in results:
                            raise ZeroDivisionError
            else:
                await anext(results)
                waiting = asyncio.ensure_future(anext(results))
                await soon(lambda: len(service.requests) > 2)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert nothing_runs()
            await asyncio.to_thread(no_threads)
            assert len(service.requests) <= 8

    run(main())


def test_an_iterator_that_is_never_started(run: Run, service: LocalCloudHsm) -> None:
    """An iterator that is created and dropped sends no request and causes no warning."""

    async def main() -> None:
        async with new_client(service) as client:
            client.restore_backups(["backup-1"])
            client.describe_backups()

    run(main())
    assert service.requests == ()


def test_a_page_is_left(run: Run, service: LocalCloudHsm) -> None:
    """Leaving describe_backups asks for no further page."""
    pending(service, 120)

    async def main() -> None:
        async with new_client(service) as client:
            async for _ in client.describe_backups():
                break

    run(main())
    assert len(service.requests) == 1


# --- Many ---


def test_an_asynchronous_source(run: Run, service: LocalCloudHsm) -> None:
    """IDs come from an asynchronous generator; a slow one keeps no result back, a bad ID stops nothing."""
    ids = pending(service, 5)

    async def main() -> None:
        go_on = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            for backup_id in [*ids, "", "backup-2222222nowhere"]:
                yield backup_id
            await go_on.wait()
            yield ids[0]

        async with new_client(service) as client:
            results: list[RestoreResult] = []
            async for result in client.restore_backups(source()):
                results.append(result)
                if len(results) == 7:
                    go_on.set()  # which only a result that was not kept back can do
        assert sorted(result.backup_id for result in results if result.ok) == sorted([*ids, ids[0]])
        assert {result.backup_id for result in results if not result.ok} == {"", "backup-2222222nowhere"}

    run(main())


def test_a_source_that_fails(run: Run, service: LocalCloudHsm) -> None:
    """An exception in the source is the caller's, as it is."""

    async def source() -> AsyncIterator[str]:
        yield "backup-2222222nowhere"
        raise ZeroDivisionError

    async def main() -> None:
        async with new_client(service) as client:
            with pytest.raises(ZeroDivisionError):
                _ = [result async for result in client.restore_backups(source())]

    run(main())


def test_a_source_stays_in_one_task(run: Run, service: LocalCloudHsm) -> None:
    """What a source enters between its IDs, a timeout or a context, it leaves again where it entered it."""
    depth: ContextVar[int] = ContextVar("depth", default=0)

    async def for_a_while() -> AsyncIterator[str]:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                for number in range(3):
                    yield f"backup-{number}"
                await asyncio.sleep(60)

    def in_a_context() -> Iterator[str]:
        for number in range(3):
            token = depth.set(1)
            yield f"backup-{number}"
            depth.reset(token)

    async def main() -> None:
        async with new_client(service) as client:
            for source in (for_a_while(), in_a_context()):
                assert len([result async for result in client.restore_backups(source)]) == 3

    run(main())


def test_a_source_that_swallows_its_cancellation(run: Run, service: LocalCloudHsm) -> None:
    """Closing waits for the source to end, and takes no ID from it."""
    swallowed: list[str] = []

    async def source() -> AsyncIterator[str]:
        yield " bad "
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed.append("once")
        yield pending(service, 1)[0]

    async def main() -> None:
        async with new_client(service) as client:
            async with aclosing(client.restore_backups(source(), max_workers=2)) as results:
                await anext(results)
                await asyncio.sleep(0.01)
            assert swallowed == ["once"]

    run(main())
    assert service.requests == ()


def test_a_source_that_fails_while_it_is_closed(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio does not log that the exception of a task was never retrieved."""

    async def source() -> AsyncIterator[str]:
        yield " bad "
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError

    async def main() -> None:
        client = new_client(service)
        async with client, aclosing(client.restore_backups(source(), max_workers=2)) as results:
            await anext(results)
            await asyncio.sleep(0.01)
        gc.collect()

    run(main())
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_arguments_are_checked_at_once(service: LocalCloudHsm) -> None:
    """What no backup ID can make good is raised before anything is iterated."""
    client = new_client(service)
    with pytest.raises(ParameterError):
        client.restore_backups("backup-1")
    with pytest.raises(ParameterError):
        client.restore_backups(["backup-1"], max_workers=0)
    with pytest.raises(ParameterError):
        client.restore_backups(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError):
        client.describe_backups(states="READY")


def test_the_pool_bounds_what_is_in_flight(run: Run, service: LocalCloudHsm) -> None:
    """No more are in flight than the connection pool holds, and IDs are taken no further ahead."""
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for backup_id in pending(service, 50):
            taken += 1
            yield backup_id

    async def main() -> None:
        done = 0
        async with new_client(service, max_pool_connections=3) as client:
            async for result in client.restore_backups(source(), max_workers=20):
                assert result.ok
                assert taken - done <= 3
                done += 1
        assert done == 50

    run(main())


def test_a_client_keeps_nothing_of_calls_that_have_ended(service: LocalCloudHsm) -> None:
    """A client that lives as long as a service does not grow with its calls."""
    [backup_id] = pending(service, 1)

    async def main() -> None:
        async with new_client(service) as client:
            backups = [weakref.ref(await client.get_backup(backup_id)) for _ in range(3)]
            gc.collect()
            # The last one may be in a thread that is about to end.
            assert [backup() for backup in backups[:2]] == [None, None]

    asyncio.run(main())


def test_a_call_after_one_for_which_there_was_no_thread(
    service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call for which no thread can be started fails at once, and leaves nothing for the next call."""
    [backup_id] = pending(service, 1)

    async def main() -> None:
        async with new_client(service) as client, asyncio.timeout(20):
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("no more threads")))
                with pytest.raises(RestoreError, match="no more threads; nothing was sent"):
                    await client.restore_backup(backup_id)
            assert (await client.restore_backup(backup_id)).backup_state is READY

    asyncio.run(main())


# --- One among others ---


def test_both_clients_in_one_process(run: Run, service: LocalCloudHsm) -> None:
    """A synchronous client in a thread and an asynchronous one do not affect each other."""
    ids = pending(service, 40)

    async def main() -> None:
        timeouts = {"connect_timeout": 60, "read_timeout": 60}  # A busy machine takes its time.
        with service.client(config(**timeouts)) as blocking:
            async with new_client(service, **timeouts) as client:

                async def restore_in_thread(backup_id: str) -> Backup:
                    return await asyncio.to_thread(blocking.ensure_restored, backup_id)

                backups = await asyncio.gather(
                    *(client.ensure_restored(backup_id) for backup_id in ids[:20]),
                    *map(restore_in_thread, ids[20:]),
                )
                assert {backup.backup_state for backup in backups} == {READY}

    run(main())


def test_the_user_agent_names_the_library(run: Run, raw_server: RawServer) -> None:
    """The user agent has the library's name after the addition of the user's config."""

    async def main() -> None:
        async with new_client(raw_server.respond(RESTORED), user_agent_extra="application/1") as client:
            await client.restore_backup(BACKUP_ID)

    run(main())
    [request] = raw_server.requests
    assert b" application/1 cloudhsm-restore/" in request


def test_a_coroutine_that_is_never_finished(service: LocalCloudHsm, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine that is closed while its request is in flight counts as cancelled."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DELAY, "RestoreBackup", seconds=0.3)

    async def main() -> None:
        async with new_client(service) as client:
            work = client.restore_backup(backup_id)
            _ = work.send(None)
            await soon(lambda: bool(service.requests))
            work.close()

    asyncio.run(main())
    assert no_threads()
    assert outcomes(caplog) == {backup_id: "restored"}


def test_the_interpreter_ends_without_waiting_for_a_wait(service: LocalCloudHsm) -> None:
    """At its end, only requests in flight are waited for, and their outcomes are logged."""
    slow, throttled = pending(service, 2)
    program = f"""
import asyncio, logging
from cloudhsm_restore import AsyncRestoreClient
logging.basicConfig(level="WARNING")
async def main():
    client = AsyncRestoreClient()
    for backup_id in ({slow!r}, {throttled!r}):
        asyncio.create_task(client.ensure_restored(backup_id))
        await asyncio.sleep(0.5)
asyncio.run(main())
"""
    service.inject(Fault.DELAY, "RestoreBackup", seconds=1.5)
    service.inject(Fault.THROTTLED, times=99)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**service.environ, "AWS_MAX_ATTEMPTS": "1"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert time.monotonic() - began < 20
    assert f"{slow}: cancelled; restored" in done.stderr
    assert f"{throttled}: cancelled; not restored" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_interpreter_ends_without_waiting_for_boto3(service: LocalCloudHsm) -> None:
    """At its end, a thread that sleeps between two of boto3's attempts is not waited for."""
    [slow, throttled] = pending(service, 2)
    program = f"""
import asyncio, boto3, logging
from cloudhsm_restore import AsyncRestoreClient
logging.basicConfig(level="WARNING")
boto3_client = boto3.client("cloudhsmv2")
boto3_client.meta.events.register_first("needs-retry.cloudhsm-v2", lambda response, **_: (
    30 if response[0].status_code == 400 else None
))
async def main():
    idle, client = AsyncRestoreClient(), AsyncRestoreClient(boto3_client)
    for backup_id in ({slow!r}, {throttled!r}):
        asyncio.create_task(client.restore_backup(backup_id))
        await asyncio.sleep(0.5)
    return idle
idle = asyncio.run(main())
"""
    service.inject(Fault.DELAY, "RestoreBackup", seconds=1.5)
    service.inject(Fault.THROTTLED)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=service.environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert time.monotonic() - began < 20
    assert f"{slow}: cancelled; restored" in done.stderr
    assert len(service.requests) == 2


# --- Imports and signatures ---


def test_the_package_imports_no_asyncio() -> None:
    """An application without an event loop does not pay for it; the name is imported when it is used."""
    code = (
        "import sys, cloudhsm_restore; cloudhsm_restore.RestoreClient, cloudhsm_restore.testing\n"
        "assert not {'asyncio', 'cloudhsm_restore.aio'} & set(sys.modules)\n"
        "cloudhsm_restore.AsyncRestoreClient"
    )
    subprocess.run([sys.executable, "-c", code.replace(", cloudhsm_restore.testing", "")], check=True)


def _public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


def test_the_clients_are_alike() -> None:
    """Both clients have the same methods with the same parameters, and each has a docstring."""
    names = _public(RestoreClient).keys()
    assert names == _public(AsyncRestoreClient).keys()
    for name in [*names, "__init__"]:
        blocking, asynchronous = (getattr(cls, name) for cls in (RestoreClient, AsyncRestoreClient))
        expected, actual = inspect.signature(blocking).parameters, inspect.signature(asynchronous).parameters
        assert list(expected) == list(actual), name
        for parameter in expected.values():
            found = actual[parameter.name]
            assert (found.kind, found.default) == (parameter.kind, parameter.default), (name, parameter)
            if parameter.name != "backup_ids":
                assert found.annotation == parameter.annotation, (name, parameter)
        assert inspect.getdoc(blocking), name
        assert inspect.getdoc(asynchronous), name
        yields = "Generator" in str(inspect.signature(blocking).return_annotation)
        assert inspect.iscoroutinefunction(asynchronous) is not (yields or name == "__init__"), name
