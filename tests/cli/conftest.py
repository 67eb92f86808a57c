"""A local service, its environment, and the command line in this process."""

import os
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from cloudhsm_restore.cli import main
from cloudhsm_restore.testing import LocalCloudHsm

from ..terminal import Ran, environment

Call = Callable[..., Ran]


@pytest.fixture
def env(service: LocalCloudHsm, tmp_path: Path) -> dict[str, str]:
    """The service's environment; one attempt for each call, so that the command itself sees each fault."""
    return environment(tmp_path, **service.environ, AWS_MAX_ATTEMPTS="1")


@pytest.fixture
def call(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command in this process: faster, if only its output matters."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)

    def call(*arguments: str, stdin: str | bytes = "", **more: str) -> Ran:
        for name, value in {**env, **more}.items():
            monkeypatch.setenv(name, value)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(data)))
        status = main(arguments)
        written = capsys.readouterr()
        return Ran(status, written.out, written.err)

    return call
