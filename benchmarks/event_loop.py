"""1,000 restores on one event loop, 8 concurrent ones, with pyperf: the library and aiobotocore (``make bench``).

Both use sockets to ``benchmarks.server``, in an environment that has aiobotocore, with a service that takes 0,
20, and 100 ms. They alternate after 100 restores. The seconds that pyperf receives are a ratio, as in
``benchmarks.call_overhead``.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import pyperf
from aiobotocore.session import get_session

from benchmarks.server import BACKUP
from cloudhsm_restore.aio import AsyncRestoreClient

TOTAL, EACH_TURN, CONCURRENT = 1_000, 100, 8
BACKUP_ID = BACKUP["BackupId"]


async def run_library(client: AsyncRestoreClient) -> None:
    results = client.restore_backups([BACKUP_ID] * EACH_TURN, max_workers=CONCURRENT)
    assert sum([result.ok async for result in results]) == EACH_TURN


async def run_aiobotocore(client: Any) -> None:
    remaining = iter([BACKUP_ID] * EACH_TURN)
    ready = 0

    async def work() -> None:
        nonlocal ready
        for backup_id in remaining:
            response = await client.restore_backup(BackupId=backup_id)
            ready += response["Backup"]["BackupState"] == "READY"

    await asyncio.gather(*(work() for _ in range(CONCURRENT)))
    assert ready == EACH_TURN


@contextmanager
def served(milliseconds: int) -> Generator[str, None, None]:
    command = [sys.executable, "-m", "benchmarks.server", str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


async def ratio(url: str) -> float:
    library_time = raw_time = 0.0
    async with (
        AsyncRestoreClient(endpoint_url=url) as client,
        get_session().create_client("cloudhsmv2", endpoint_url=url) as raw,
    ):
        await run_library(client)
        await run_aiobotocore(raw)
        for _ in range(TOTAL // EACH_TURN):
            began = perf_counter()
            await run_library(client)
            between = perf_counter()
            await run_aiobotocore(raw)
            library_time += between - began
            raw_time += perf_counter() - between
    return library_time / raw_time


if __name__ == "__main__":
    runner = pyperf.Runner()
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    for milliseconds in (0, 20, 100):
        with served(milliseconds) as url:
            runner.bench_time_func(
                f"1,000 restores, {milliseconds} ms", lambda loops, url=url: asyncio.run(ratio(url)) * loops
            )
