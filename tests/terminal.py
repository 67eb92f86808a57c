"""Runs the command line as a user does: with pipes, or in a real pseudo-terminal."""

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

CLI = (sys.executable, "-m", "cloudhsm_restore")
_PATIENCE = 20.0

# Makes standard error the controlling terminal, as a shell does, so that a typed Ctrl-C is a SIGINT.
_AT_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without AWS settings except those that are given."""
    kept = {
        name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE")
    }
    plain = {"HOME": str(home), "TMPDIR": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    return {**kept, **plain, "AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "error", **more}


@dataclass(frozen=True)
class Ran:
    """The result of one run."""

    status: int
    out: str
    err: str


def run(*arguments: str, env: Mapping[str, str], stdin: str = "", python: tuple[str, ...] = CLI) -> Ran:
    """Run it with pipes."""
    done = subprocess.run(
        [*python, *arguments],
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def write_regions(home: Path, endpoints: Mapping[str, str]) -> None:
    """Make these the endpoints of the regions for botocore, which reads them from ``~/.aws/models``."""
    models = home / ".aws/models"
    (models / "cloudhsmv2/2017-04-28").mkdir(parents=True)
    rules: list[dict[str, Any]] = [
        {
            "conditions": [{"fn": "stringEquals", "argv": [{"ref": "Region"}, region]}],
            "endpoint": {"url": url, "properties": {}, "headers": {}},
            "type": "endpoint",
        }
        for region, url in endpoints.items()
    ]
    parameters = {"Region": {"builtIn": "AWS::Region", "required": True, "type": "String"}}
    rule_set: dict[str, Any] = {"version": "1.0", "parameters": parameters, "rules": rules}
    (models / "cloudhsmv2/2017-04-28/endpoint-rule-set-1.json").write_text(json.dumps(rule_set))
    partition = {
        "partition": "aws",
        "partitionName": "AWS",
        "dnsSuffix": "amazonaws.com",
        "regionRegex": r"^[a-z]+\-\w+\-\d+$",
        "regions": {region: {"description": region} for region in endpoints},
        "defaults": {"hostname": "{service}.{region}.{dnsSuffix}", "signatureVersions": ["v4"]},
        "services": {
            "cloudhsmv2": {
                "endpoints": {
                    region: {"hostname": url.removeprefix("http://"), "protocols": ["http"]}
                    for region, url in endpoints.items()
                }
            }
        },
    }
    (models / "endpoints.json").write_text(json.dumps({"version": 3, "partitions": [partition]}))


class Terminal:
    """The command in a pseudo-terminal. ``stdin`` and ``stdout`` can be redirected."""

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str],
        columns: int = 80,
        stdin: IO[str] | int | None = None,
        stdout: int | None = None,
    ) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_A_TERMINAL, *CLI, *arguments],
            env=env,
            stdin=slave if stdin is None else stdin,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.raw = ""

    def read(self, *, until: str | None = None) -> str:
        """Read until this text appears, or to the end; return everything so far."""
        deadline = time.monotonic() + _PATIENCE
        while until is None or until not in self.raw:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"timed out waiting for {until!r}; read {self.raw!r}"
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # Linux: no process has the terminal open any more
                chunk = b""
            if not chunk:
                assert until is None, f"ended without {until!r}; read {self.raw!r}"
                break
            self.raw += chunk.decode()
        return self.raw

    def press(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end and return the exit status."""
        self.read()
        return self.process.wait(_PATIENCE)

    @property
    def text(self) -> str:
        """The text, without colors and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r\n", "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        os.close(self._master)
