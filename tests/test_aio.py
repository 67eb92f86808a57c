"""What only the asynchronous client has: cancellation, event loops, asynchronous sources, aiohttp's failures.

The behaviour that both clients share is tested elsewhere, for both from one source (`aio_adapter`).
"""

import asyncio
import gc
import inspect
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.config import Config

from cloudhsm_restore import (
    Backup,
    BackupState,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ParameterError,
    RestoreClient,
    RestoreError,
    RestoreResult,
    TransportError,
    UnexpectedResponseError,
)
from cloudhsm_restore.aio import AsyncRestoreClient
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
    return asyncio.new_event_loop()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Run:
    """Runs a coroutine in debug mode; afterwards no task is left, and no complaint of asyncio's."""

    async def watched(work: Coroutine[Any, Any, Any]) -> Any:
        asyncio.get_running_loop().slow_callback_duration = 10  # botocore loads its models in the loop
        result = await work
        await asyncio.sleep(0.01)  # transports close in the next round of the loop
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(debug=True, loop_factory=lambda: new_loop(request.param)) as runner:
            result = runner.run(watched(work))
        gc.collect()  # what was not closed warns now, and a warning is an error
        assert [record for record in caplog.records if record.name == "asyncio" and record.levelno > 20] == []
        return result

    return run


def config_of(**options: Any) -> Config:
    return Config(**(dict(OPTIONS) | options))


def new_client(service: LocalCloudHsm | str, **options: Any) -> AsyncRestoreClient:
    url = service if isinstance(service, str) else service.endpoint_url
    return AsyncRestoreClient(endpoint_url=url, config=config_of(**options))


def restores(service: LocalCloudHsm, since: int) -> int:
    """How many restores the service has carried out since its so-many-th request."""
    return sum(each.done and each.operation == "RestoreBackup" for each in service.requests[since:])


def pending(service: LocalCloudHsm, count: int) -> list[str]:
    return [service.add_backup(backup_state=PENDING_DELETION).backup_id for _ in range(count)]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "cloudhsm_restore"]


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.01)
    return False


async def soon(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def nothing_runs() -> bool:
    """Whether the loop has no task but the one that asks."""
    return asyncio.all_tasks() == {asyncio.current_task()}


# --- aiohttp's failures ---


class OneAnswer:
    """Reads one request, then does with the connection what ``end`` says."""

    def __init__(self, end: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, args=(end,))
        self._thread.start()

    def _serve(self, end: Callable[[socket.socket], None]) -> None:
        connection, _ = self._listener.accept()
        with connection:
            received = b""
            while BACKUP_ID.encode() not in received:
                received += connection.recv(65536)
            end(connection)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _reset_within(connection: socket.socket) -> None:
    connection.sendall(RESTORED[:40])
    time.sleep(0.05)
    _reset(connection)


def _says(raw: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(raw)


@pytest.mark.parametrize(
    ("end", "cls"),
    [
        (_reset, ConnectionLostError),
        (_reset_within, ConnectionLostError),
        (_says(RESTORED.replace(b"\r\n", b"\r\nServer: caf\xe9\r\n", 1)), UnexpectedResponseError),
        (_says(RESTORED.replace(b"\r\n", b"\r\nNo colon\r\n", 1)), TransportError),
        (_says(b"HTTP/1.1 307 Moved\r\nLocation: http://[::x\r\n\r\n"), UnexpectedResponseError),
        (_says(b"HTTP/1.1 307 Moved\r\nLocation: ftp://x/\r\n\r\n"), UnexpectedResponseError),
    ],
    ids=["reset", "reset within", "Latin-1 header", "no header", "bad redirect", "FTP redirect"],
)
def test_what_aiobotocore_misnames(
    run: Run, end: Callable[[socket.socket], None], cls: type[RestoreError]
) -> None:
    """A failure after the request went out is in doubt, also where aiobotocore says that none went out."""
    server = OneAnswer(end)

    async def restore() -> None:
        async with new_client(server.url) as client:
            await client.restore_backup(BACKUP_ID)

    async def main() -> None:
        with pytest.raises(cls) as caught:
            await restore()
        assert type(caught.value) is cls
        assert caught.value.outcome_unknown

    run(main())
    server.close()


@pytest.mark.parametrize(
    ("url", "cls"),
    [
        ("http://127.0.0.1:9", ConnectError),
        ("http://name.invalid", ConnectError),
        ("ftp://127.0.0.1", ConfigurationError),
        ("nonsense", ConfigurationError),
        ("http://127.0.0.1:99999", ConfigurationError),
    ],
)
def test_what_was_never_sent(run: Run, url: str, cls: type[RestoreError]) -> None:
    """Where nothing can have been sent there is no doubt."""

    async def main() -> None:
        with pytest.raises(cls) as caught:
            async with new_client(url) as client:
                await client.restore_backup(BACKUP_ID)
        assert type(caught.value) is cls
        assert not caught.value.outcome_unknown

    run(main())


def test_a_closed_client(run: Run, service: LocalCloudHsm) -> None:
    """A given client that its owner has closed is a ConfigurationError; one made here is made anew."""

    async def main() -> None:
        async with get_session().create_client("cloudhsmv2", endpoint_url=service.endpoint_url) as theirs:
            pass
        with pytest.raises(ConfigurationError) as caught:
            await AsyncRestoreClient(theirs).restore_backup(BACKUP_ID)
        assert not caught.value.outcome_unknown
        client = new_client(service)
        for _ in range(2):
            assert [backup async for backup in client.describe_backups()] == []
            await client.close()

    run(main())


# --- Cancellation ---


def test_cancelled_in_flight(run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled RestoreBackup is a CancelledError, and the log says that its outcome is unknown."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DELAY, "RestoreBackup", seconds=2)

    async def main() -> None:
        async with new_client(service) as client:
            task = asyncio.create_task(client.ensure_restored(backup_id))
            await soon(lambda: bool(service.requests))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.ensure_restored(backup_id)).backup_state == READY

    run(main())
    assert f"RestoreBackup {backup_id}: interrupted by CancelledError, its outcome is unknown" in warnings_of(
        caplog
    )


def test_asyncio_timeout(run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio.timeout ends a call and gives its TimeoutError."""
    [backup_id] = pending(service, 1)
    service.inject(Fault.DELAY, "RestoreBackup", seconds=2)

    async def main() -> None:
        async with new_client(service) as client:
            await client.get_backup(backup_id)  # now there is a client, and a connection
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.15):
                    await client.restore_backup(backup_id)
            assert not isinstance(caught.value, RestoreError)

    run(main())
    assert any("outcome is unknown" in message for message in warnings_of(caplog))


def test_reading_is_interrupted_in_silence(
    run: Run, service: LocalCloudHsm, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled DescribeBackups leaves nothing unknown, and nothing in the log."""
    service.inject(Fault.DELAY, "DescribeBackups", seconds=2)

    async def main() -> None:
        async with new_client(service) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.15):
                    await client.get_backup(BACKUP_ID)

    run(main())
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_at_any_moment(run: Run, service: LocalCloudHsm, seed: int) -> None:
    """Wherever a cancellation hits, it arrives, and neither task nor connection is left."""
    chance = random.Random(seed)
    ids = pending(service, 40)

    async def restore_all(client: AsyncRestoreClient) -> Any:
        async with aclosing(client.restore_backups(ids)) as results:
            async for _ in results:
                pass

    async def main() -> None:
        for _ in range(25):
            client = new_client(service)
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
            for each in chance.sample(ids, 10):
                service.change_backup(each, backup_state=PENDING_DELETION)

    run(main())
    server = service._server  # pyright: ignore[reportPrivateUsage]
    assert eventually(lambda: server is not None and not server.connections)


@pytest.mark.parametrize("how", ["aclosing", "break", "error", "cancel"])
def test_an_abandoned_iterator(
    run: Run, service: LocalCloudHsm, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However the results are abandoned, nothing new is begun and what is in flight is cancelled."""
    ids = pending(service, 30)
    service.inject(Fault.DELAY, "RestoreBackup", times=30, seconds=1)
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
            server = service._server  # pyright: ignore[reportPrivateUsage]
            assert server is not None
            await soon(lambda: not server.connections)  # what was sent already has arrived
            assert nothing_runs()
            assert len(service.requests) <= 8

    run(main())


def test_an_iterator_that_nobody_starts(run: Run, service: LocalCloudHsm) -> None:
    """Iterators that are made and dropped do nothing and warn of nothing."""

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


def test_a_cancellation_that_is_swallowed(run: Run, service: LocalCloudHsm) -> None:
    """Where something within a restore swallows its cancellation, closing still ends, and begins nothing."""
    begun = 0

    async def main() -> None:
        async with new_client(service) as client:

            async def swallow(**_: object) -> None:
                nonlocal begun
                begun += 1
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

            botocore_client: Any = await client._open()
            botocore_client.meta.events.register("before-call.cloudhsm-v2", swallow)
            async with aclosing(
                client.restore_backups([" bad ", *pending(service, 20)], max_workers=2)
            ) as all_:
                await anext(all_)
                await soon(lambda: begun > 0)
                before = begun
            assert begun == before

    run(main())


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
                assert taken - done <= 3 + 2  # and the one that waits for room
                done += 1
        assert done == 50

    run(main())


def test_1000_in_flight() -> None:
    """1,000 restores are in flight at once on one loop, and 3,000 take no more memory than that."""
    ids = [f"backup-{number:05}".translate(str.maketrans("01", "ab")) for number in range(3000)]

    at_once = most = 0
    full = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = [line.lower() for line in head.split(b"\r\n")]
                length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
                backup_id = json.loads(await reader.readexactly(length))["BackupId"]
                at_once += 1
                most = max(most, at_once)
                if most < 1000:
                    await full.wait()
                full.set()
                at_once -= 1
                body = json.dumps({"Backup": {"BackupId": backup_id, "BackupState": "READY"}}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except asyncio.IncompleteReadError:
            pass  # the client has closed the connection
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options: dict[str, Any] = {"max_pool_connections": 1000, "connect_timeout": 120, "read_timeout": 120}
        sizes: list[int] = []
        tracemalloc.start()
        async with new_client(url, **options) as client:
            done = 0
            async for result in client.restore_backups(ids, max_workers=1000, timeout=60):
                assert result.unwrap().backup_id == result.backup_id
                done += 1
                if done % 1000 == 0:
                    sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.1)
        assert (done, most) == (3000, 1000)
        assert sizes[-1] < 1.2 * sizes[0]

    with asyncio.Runner() as runner:  # debug mode would take minutes
        runner.run(main())


# --- One among others ---


def test_both_clients_in_one_process(run: Run, service: LocalCloudHsm) -> None:
    """A synchronous client in a thread and an asynchronous one share nothing, not even the doubt."""
    ids = pending(service, 40)

    async def main() -> None:
        patient = {"connect_timeout": 60, "read_timeout": 60}  # the machine may be busy
        with service.client(config(**patient)) as blocking:
            async with new_client(service, **patient) as client:

                async def theirs(backup_id: str) -> Backup:
                    return await asyncio.to_thread(blocking.ensure_restored, backup_id)

                backups = await asyncio.gather(
                    *(client.ensure_restored(each) for each in ids[:20]), *map(theirs, ids[20:])
                )
                assert {backup.backup_state for backup in backups} == {READY}

    run(main())


def test_many_first_calls_make_one_client(run: Run, service: LocalCloudHsm) -> None:
    """Without async with the client is made at the first call, once, and says who it is."""
    ids = pending(service, 8)

    async def main() -> None:
        client = new_client(service)
        await asyncio.gather(*map(client.restore_backup, ids))
        await client.close()
        await client.close()

    run(main())


def test_it_says_who_it_is(run: Run, raw_server: RawServer) -> None:
    """The user agent names this library, beside what the user's config adds to it."""

    async def main() -> None:
        async with new_client(raw_server.answer(RESTORED), user_agent_extra="theirs/1") as client:
            await client.restore_backup(BACKUP_ID)

    run(main())
    [request] = raw_server.requests
    assert b" theirs/1 cloudhsm-restore/" in request


def test_a_given_client_stays_open(run: Run, service: LocalCloudHsm) -> None:
    """A client that was given is used as it is, and stays its owner's to close."""

    async def main() -> None:
        session = get_session()
        async with session.create_client("cloudhsmv2", endpoint_url=service.endpoint_url) as theirs:
            async with AsyncRestoreClient(theirs) as client:
                await client.restore_backup(pending(service, 1)[0])
            await theirs.describe_backups()
            with pytest.raises(TypeError, match="client is complete"):
                AsyncRestoreClient(theirs, region_name="us-east-1")  # type: ignore[call-overload, unused-ignore]  # pyright: ignore[reportCallIssue, reportArgumentType]
            with pytest.raises(TypeError, match="must be a boto3 cloudhsmv2 client"):
                RestoreClient(theirs)  # pyright: ignore[reportArgumentType]

    run(main())


def test_the_other_kind_of_client(service: LocalCloudHsm) -> None:
    """A boto3 client is refused at once: its answer would come only after it had restored."""
    theirs = service.boto3_client()
    for wrong in (theirs, get_session().create_client, object()):
        with pytest.raises(TypeError, match="must be an aiobotocore cloudhsmv2 client"):
            AsyncRestoreClient(wrong)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    theirs.close()


def test_a_coroutine_that_nobody_finishes(service: LocalCloudHsm, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine that is closed in flight leaves a warning that its outcome is unknown."""

    async def main() -> None:
        async with new_client(service) as client:
            await client.get_backup(pending(service, 1)[0])
            work = client.restore_backup(BACKUP_ID)
            _ = work.send(None)
            work.close()

    asyncio.run(main())
    assert any("interrupted by GeneratorExit" in message for message in warnings_of(caplog))


# --- Imports and signatures ---


def test_the_package_needs_no_aiobotocore() -> None:
    """Importing the package imports neither aiobotocore nor aiohttp."""
    code = (
        "import sys, cloudhsm_restore, cloudhsm_restore.testing\n"
        "assert not {'aiobotocore', 'aiohttp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra() -> None:
    """Without aiobotocore the import fails with an ImportError that says what to install."""
    code = (
        "import sys\n"
        "sys.modules['aiobotocore'] = None\n"
        "try:\n"
        "    from cloudhsm_restore.aio import AsyncRestoreClient\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'cloudhsm-restore[async]'" in done.stdout


def _public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


def test_the_clients_are_alike() -> None:
    """Both clients have the same methods with the same parameters, and each has a docstring."""
    one, other = _public(RestoreClient), _public(AsyncRestoreClient)
    assert one.keys() == other.keys()
    for name in [*one, "__init__"]:
        theirs, ours = (getattr(cls, name) for cls in (RestoreClient, AsyncRestoreClient))
        expected, actual = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
        assert list(expected) == list(actual), name
        for parameter in expected.values():
            mine = actual[parameter.name]
            assert (mine.kind, mine.default) == (parameter.kind, parameter.default), (name, parameter)
            if parameter.name not in ("client", "session", "backup_ids"):
                assert mine.annotation == parameter.annotation, (name, parameter)
        assert inspect.getdoc(theirs), name
        assert inspect.getdoc(ours), name
        yields = "Generator" in str(inspect.signature(theirs).return_annotation)
        assert inspect.iscoroutinefunction(ours) is not (yields or name == "__init__"), name
