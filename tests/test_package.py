"""The package as a whole: the modules that it imports, and the names that it exports."""

import subprocess
import sys
from pathlib import Path

import pytest

import cloudhsm_restore

ROOT = Path(__file__).parent.parent


def imported_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after a statement."""
    program = f"{statement}\nimport sys; print(*sys.modules, sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.split())


def test_importing_loads_no_boto3() -> None:
    """The import, with models and exceptions, loads neither boto3 nor a package of the extras."""
    modules = imported_by(
        "from cloudhsm_restore import *; Backup(backup_id='x'); ApiError({}, 'RestoreBackup')"
    )
    unwanted = {"boto3", "botocore.session", "botocore.client", "s3transfer", "urllib3", "aiobotocore",
                "aiohttp", "click", "typer", "rich", "hypothesis", "http.server"}  # fmt: skip
    assert modules & unwanted == set()
    assert "cloudhsm_restore.testing" not in modules


def test_modules_are_loaded_on_first_use() -> None:
    """The import loads neither pydantic nor botocore; a module is loaded when its name is used."""
    assert imported_by("import cloudhsm_restore") & {"pydantic", "botocore"} == set()
    assert "pydantic" in imported_by("import cloudhsm_restore; cloudhsm_restore.models.Backup(backup_id='x')")


def test_everything_public_is_exported() -> None:
    """The package exports the names of the public API, and no other."""
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


def test_the_version_is_that_of_the_distribution() -> None:
    """``__version__`` is the version under which the package is installed."""
    from importlib.metadata import version

    assert cloudhsm_restore.__version__ == version("cloudhsm-restore")
