"""150 restores of a service that allows few requests a second: the table and the plot of docs/explanation/speed.md.

    python -m benchmarks.throttling

The service has a token bucket that holds the requests of one second, and throttles a request for which it has no
token. Each run has a service of its own, in a process of its own, and a client in another, with 8 workers. The
runs at 2 requests a second are side by side, because they hardly do anything, and those at 10 are one after
another. aiobotocore pins an older botocore, so it is in an environment of its own (``.venv-bench-async``).
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.server import BACKUP
from tests import figures

ROOT: Final = Path(__file__).parent.parent
ASYNC: Final = Path(os.environ.get("ASYNC_PYTHON", ROOT / ".venv-bench-async/bin/python"))
RESTORES, WORKERS = 150, 8
RATES: Final = (2, 10)
MODES: Final = ("legacy", "standard", "adaptive")
CLIENTS: Final = (
    *(("boto3", mode) for mode in MODES),
    ("aiobotocore", "legacy"),
    *(("cloudhsm-restore", mode) for mode in MODES),
)
NAMES: Final = {"boto3": "boto3 in a thread pool"}
IDS: Final = [f"backup-{number:011d}" for number in range(RESTORES)]


class Result(NamedTuple):
    """What one client did at one rate."""

    name: str
    mode: str
    seconds: float
    failed: int
    accepted: int
    throttled: int
    version: str
    is_default: bool

    @property
    def share(self) -> float:
        """The share of its requests that were throttled."""
        return self.throttled / (self.accepted + self.throttled)


# --- The service ---


class _Service(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, rate: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._rate = self._tokens = float(rate)
        self._filled = time.monotonic()
        self._lock = threading.Lock()
        self.accepted = self.throttled = 0

    def accepts(self) -> bool:
        """Return whether there is a token for a request, and take it."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            if self._tokens < 1:
                self.throttled += 1
                return False
            self._tokens -= 1
            self.accepted += 1
            return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Service

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.accepts():
            self._send("200 OK", {"Backup": BACKUP | request})
        else:
            self._send("400 Bad Request", {"__type": "ThrottlingException", "message": "Rate exceeded"})

    def do_GET(self) -> None:
        self._send("200 OK", {"accepted": self.server.accepted, "throttled": self.server.throttled})

    def _send(self, status: str, content: object) -> None:
        body = json.dumps(content).encode()
        kind = "Content-Type: application/x-amz-json-1.1"
        self.wfile.write(
            f"HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )

    def log_message(self, *_: object) -> None:  # type: ignore[override]
        """Print nothing."""


# --- The clients, each in a process ---


def _with_boto3(config: Any) -> tuple[float, int, Any]:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("cloudhsmv2", config=config)

    def restore(backup_id: str) -> bool:
        try:
            client.restore_backup(BackupId=backup_id)
        except ClientError:
            return False
        return True

    began = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        ready = sum(pool.map(restore, IDS))
    return time.perf_counter() - began, RESTORES - ready, client


def _with_library(config: Any) -> tuple[float, int, Any]:
    from cloudhsm_restore import RestoreClient

    with RestoreClient(config=config) as client:
        began = time.perf_counter()
        ready = sum(result.ok for result in client.restore_backups(IDS, max_workers=WORKERS))
        return time.perf_counter() - began, RESTORES - ready, client._client


async def _with_aiobotocore(config: Any) -> tuple[float, int, Any]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore.exceptions import ClientError

    remaining, ready = iter(IDS), 0

    async def work(client: Any) -> None:
        nonlocal ready
        for backup_id in remaining:
            try:
                await client.restore_backup(BackupId=backup_id)
            except ClientError:
                continue
            ready += 1

    async with get_session().create_client("cloudhsmv2", config=AioConfig().merge(config)) as client:
        began = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(WORKERS)))
        return time.perf_counter() - began, RESTORES - ready, client


def _run_client(name: str, mode: str) -> None:
    from importlib.metadata import version

    from botocore.config import Config
    from botocore.session import get_session

    default = get_session().create_client("cloudhsmv2").meta.config.retries["mode"]
    config = Config() if mode == default else Config(retries={"mode": mode})
    if name == "aiobotocore":
        seconds, failed, client = asyncio.run(_with_aiobotocore(config))
    else:
        seconds, failed, client = (_with_boto3 if name == "boto3" else _with_library)(config)
    assert client.meta.config.retries["mode"] == mode
    installed = version("aiobotocore" if name == "aiobotocore" else "boto3")
    print(json.dumps([seconds, failed, installed, mode == default]))


# --- The runs ---


@contextmanager
def _served(rate: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.throttling", "serve", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def _measure(rate: int, name: str, mode: str) -> Result:
    from urllib.request import urlopen

    python = ASYNC if name == "aiobotocore" else Path(sys.executable)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with _served(rate) as url:
        environment["AWS_ENDPOINT_URL"] = url
        command = [str(python), "-m", "benchmarks.throttling", "client", name, mode]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        )
        seconds, failed, version, is_default = json.loads(done.stdout)
        with urlopen(url) as response:
            counts = json.load(response)
    return Result(name, mode, seconds, failed, counts["accepted"], counts["throttled"], version, is_default)


def _measure_all() -> dict[int, list[Result]]:
    slow, fast = RATES
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        runs = [pool.submit(_measure, slow, *client) for client in CLIENTS]
        at_fast = [_measure(fast, *client) for client in CLIENTS]
        return {slow: [run.result() for run in runs], fast: at_fast}


def table(results: dict[int, list[Result]]) -> Iterator[str]:
    """Yield the lines of the table."""
    columns = [f"{what}, {rate}/s" for rate in RATES for what in ("time", "throttled", "failed")]
    yield f"| Client | Retries | {' | '.join(columns)} |"
    yield "| --- | --- |" + " --- |" * len(columns)
    for row in zip(*results.values(), strict=True):
        mode = f"`{row[0].mode}`" + ", the default" * row[0].is_default
        cells = [NAMES.get(row[0].name, row[0].name), mode]
        for rate, result in zip(RATES, row, strict=True):
            limit = (RESTORES - rate) / rate
            cells += [f"{result.seconds / limit:.2f}", f"{result.share:.0%}", str(result.failed)]
        yield f"| {' | '.join(cells)} |"


def plot(results: Sequence[Result], rate: int) -> str:
    """Return an SVG with the requests of each client: a bar of those accepted, and of those throttled."""
    title = f"Requests for {RESTORES} restores at {rate} requests a second, by client and retry mode"
    most = max(result.accepted + result.throttled for result in results)
    width, top, row_height = 360, 30, 42
    shapes = [f'<title id="throttling-title">{title}</title>']
    for x, kind in ((0, "accepted"), (100, "throttled")):
        shapes += [
            f'<rect class="{kind}" x="{x}" y="4" width="14" height="14"/>',
            f'<text x="{x + 20}" y="16">{kind}</text>',
        ]
    for number, result in enumerate(results):
        y = top + number * row_height
        accepted, throttled = (width * part / most for part in (result.accepted, result.throttled))
        failed = f", {result.failed} restores failed" if result.failed else ""
        label = f"{result.name}, {result.mode}: {result.share:.0%} throttled{failed}"
        shapes += [
            f'<text x="0" y="{y + 14}">{label}</text>',
            f'<rect class="accepted" x="0" y="{y + 19}" width="{accepted:.1f}" height="14"/>',
            f'<rect class="throttled" x="{accepted:.1f}" y="{y + 19}" width="{throttled:.1f}" height="14"/>',
        ]
    height = top + len(results) * row_height
    head = f'<svg class="throttling" viewBox="0 0 {width} {height}" role="img" '
    head += 'aria-labelledby="throttling-title" xmlns="http://www.w3.org/2000/svg">'
    return head + "\n  " + "\n  ".join(shapes) + "\n</svg>\n"


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the table and the plot into the page; or be the service, or one client."""
    match arguments:
        case ["serve", rate]:
            with _Service(int(rate)) as server:
                print(server.server_address[1], flush=True)
                server.serve_forever()
        case ["client", name, mode]:
            _run_client(name, mode)
        case _:
            results = _measure_all()
            lines = [*table(results)]
            print("\n".join(lines))
            versions: Iterable[str] = {
                f"{each.name} {each.version}" for each in results[RATES[0]] if each.name == "aiobotocore"
            }
            figures.write("throttling", lines, *versions, f"{os.cpu_count()} cores")
            (ROOT / "docs/_static/throttling.svg").write_text(plot(results[RATES[0]], RATES[0]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
