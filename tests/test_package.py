"""The package as a whole: what importing it costs, and what it exports."""

import subprocess
import sys
from pathlib import Path

import pytest

import cloudhsm_restore

ROOT = Path(__file__).parent.parent


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    program = f"{statement}\nimport sys; print(*sys.modules, sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.split())


def test_importing_brings_no_boto3() -> None:
    """The import alone, models and exceptions included, loads neither boto3 nor anything of the extras."""
    modules = imported_by(
        "from cloudhsm_restore import *; Backup(backup_id='x'); ApiError({}, 'RestoreBackup')"
    )
    unwanted = {"boto3", "botocore.session", "botocore.client", "s3transfer", "urllib3", "aiobotocore",
                "aiohttp", "click", "typer", "rich", "hypothesis", "http.server"}  # fmt: skip
    assert modules & unwanted == set()
    assert "cloudhsm_restore.testing" not in modules


def test_importing_costs_nothing_until_it_is_used() -> None:
    """The import alone loads neither pydantic nor botocore; the package's modules come when asked for."""
    assert imported_by("import cloudhsm_restore") & {"pydantic", "botocore"} == set()
    assert "pydantic" in imported_by("import cloudhsm_restore; cloudhsm_restore.models.Backup(backup_id='x')")


def test_everything_public_is_exported() -> None:
    """The names of the public API are there, and nothing else is exported."""
    assert set(cloudhsm_restore.__all__) == {
        "RestoreClient", "Backup", "Tag", "BackupState", "Mode", "RestoreResult", "RestoreError",
        "ConfigurationError", "ParameterError", "TransportError", "ConnectError", "ConnectionLostError",
        "ResponseTimeoutError", "UnexpectedResponseError", "NotRestorableError", "WaitTimeoutError",
        "ApiError", "AccessDeniedError", "InternalFailureError", "InvalidRequestError",
        "ResourceNotFoundError", "ServiceError", "TagError", "AuthenticationError", "ThrottlingError",
        "AsyncRestoreClient", "__version__",
    }  # fmt: skip
    assert all(hasattr(cloudhsm_restore, name) for name in cloudhsm_restore.__all__)
    assert set(cloudhsm_restore.__all__) <= set(dir(cloudhsm_restore))
    with pytest.raises(AttributeError, match="no attribute 'RestorClient'"):
        cloudhsm_restore.RestorClient  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_the_version_is_the_distributions() -> None:
    """``__version__`` is the version under which the package is installed."""
    from importlib.metadata import version

    assert cloudhsm_restore.__version__ == version("cloudhsm-restore")
