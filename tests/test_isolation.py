"""The clients of LocalCloudHsm and RestoreStubber behave the same in every environment."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session

from cloudhsm_restore import ConnectionLostError
from cloudhsm_restore.testing import Fault, LocalCloudHsm, RestoreStubber, backup_response
from cloudhsm_restore.testing import _boto3 as isolated

# What botocore reads, by variable. "{proxy}" stands for a listener, "{file}" for a file without a valid line.
HOSTILE: Mapping[str, Mapping[str, str]] = {
    "AWS_PROFILE": {"AWS_PROFILE": "ghost"},
    "AWS_DEFAULT_PROFILE": {"AWS_DEFAULT_PROFILE": "ghost"},
    "AWS_CONFIG_FILE": {"AWS_CONFIG_FILE": "{file}"},
    "AWS_CONFIG_FILE, absent": {"AWS_CONFIG_FILE": "/dev/null/nowhere", "AWS_PROFILE": "ghost"},
    "AWS_SHARED_CREDENTIALS_FILE": {"AWS_SHARED_CREDENTIALS_FILE": "{file}"},
    "AWS_DEFAULT_REGION": {"AWS_DEFAULT_REGION": "not a region!"},
    "AWS_REGION": {"AWS_REGION": "not a region!"},
    "AWS_DATA_PATH": {"AWS_DATA_PATH": "{models}"},
    "AWS_CA_BUNDLE": {"AWS_CA_BUNDLE": "{file}", "REQUESTS_CA_BUNDLE": "{file}"},
    "AWS_MAX_ATTEMPTS": {"AWS_MAX_ATTEMPTS": "many"},
    "AWS_MAX_ATTEMPTS, valid": {"AWS_MAX_ATTEMPTS": "1"},
    "AWS_RETRY_MODE": {"AWS_RETRY_MODE": "hectic"},
    "AWS_RETRY_MODE, valid": {"AWS_RETRY_MODE": "adaptive"},
    "AWS_DEFAULTS_MODE": {"AWS_DEFAULTS_MODE": "bad"},
    "AWS_DEFAULTS_MODE, auto": {
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{proxy}",
        "AWS_EC2_METADATA_DISABLED": "false",
    },
    "AWS_USE_FIPS_ENDPOINT": {"AWS_USE_FIPS_ENDPOINT": "true"},
    "AWS_USE_DUALSTACK_ENDPOINT": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "AWS_ENDPOINT_URL": {"AWS_ENDPOINT_URL": "no URL"},
    "AWS_ENDPOINT_URL_CLOUDHSM_V2": {"AWS_ENDPOINT_URL_CLOUDHSM_V2": "no URL"},
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    "AWS_METADATA_SERVICE_TIMEOUT": {"AWS_METADATA_SERVICE_TIMEOUT": "long"},
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": {"AWS_METADATA_SERVICE_NUM_ATTEMPTS": "many"},
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "{proxy}"},
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv5"},
    "AWS_CSM_ENABLED": {"AWS_CSM_ENABLED": "true", "AWS_CSM_PORT": "none", "AWS_CSM_HOST": "nowhere.invalid"},
    "AWS_ENDPOINT_DISCOVERY_ENABLED": {"AWS_ENDPOINT_DISCOVERY_ENABLED": "perhaps"},
    "AWS_STS_REGIONAL_ENDPOINTS": {"AWS_STS_REGIONAL_ENDPOINTS": "global"},
    "AWS_SDK_UA_APP_ID": {"AWS_SDK_UA_APP_ID": "ü" * 100},
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": {"AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "-1"},
    "AWS_SIGV4A_SIGNING_REGION_SET": {"AWS_SIGV4A_SIGNING_REGION_SET": "*"},
    "AWS_REQUEST_CHECKSUM_CALCULATION": {"AWS_REQUEST_CHECKSUM_CALCULATION": "never"},
    "AWS_RESPONSE_CHECKSUM_VALIDATION": {"AWS_RESPONSE_CHECKSUM_VALIDATION": "never"},
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"},
    "AWS_AUTH_SCHEME_PREFERENCE": {"AWS_AUTH_SCHEME_PREFERENCE": "httpBearerAuth"},
    "AWS_BEARER_TOKEN_CLOUDHSM": {"AWS_BEARER_TOKEN_CLOUDHSM": "token"},
    "AWS_ACCESS_KEY_ID": {"AWS_ACCESS_KEY_ID": "AKIAOTHER"},
    "AWS_SESSION_TOKEN": {"AWS_SESSION_TOKEN": "token", "AWS_CREDENTIAL_EXPIRATION": "yesterday"},
    "AWS_WEB_IDENTITY_TOKEN_FILE": {"AWS_WEB_IDENTITY_TOKEN_FILE": "{file}", "AWS_ROLE_ARN": "arn"},
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{proxy}"},
    "AWS_CREDENTIAL_FILE": {"AWS_CREDENTIAL_FILE": "{file}", "BOTO_CONFIG": "{file}"},
    "AWS_EXECUTION_ENV": {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.14"},
    "AWS_LAMBDA_FUNCTION_NAME": {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1-2-3"},
    "HTTP_PROXY": {"HTTP_PROXY": "{proxy}", "HTTPS_PROXY": "{proxy}", "ALL_PROXY": "{proxy}"},
    "http_proxy": {"http_proxy": "{proxy}", "https_proxy": "{proxy}", "all_proxy": "{proxy}"},
    "HTTP_PROXY, invalid": {"HTTP_PROXY": "no URL", "HTTPS_PROXY": "no URL", "NO_PROXY": "example.com"},
    "HOME": {"HOME": "{home}"},
}
# Those that botocore adds later, and switches, with a value that is invalid for nearly all of them.
OTHERS = {
    name: {name: "invalid"}
    for _, names, _, _ in Session.SESSION_VARIABLES.values()
    for name in ([names] if isinstance(names, str) else names or [])
    if name not in HOSTILE
}


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any]]]:
    """A URL that stands for a proxy and for the instance metadata service, and the connections to it."""
    accepted: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                accepted.append(address)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


Hostile = Callable[[Mapping[str, str]], dict[str, str]]


@pytest.fixture
def filled_in(tmp_path: Path, listener: tuple[str, list[Any]]) -> Hostile:
    """Fills in the placeholders of a hostile environment."""
    broken = tmp_path / "broken"
    broken.write_text("[default\nregion", "utf-8")
    home = tmp_path / "home"
    models = home / ".aws" / "models"
    (models / "cloudhsmv2" / "2017-04-28").mkdir(parents=True)
    (models / "cloudhsmv2" / "2017-04-28" / "service-2.json").write_text("{", "utf-8")
    for name in ("config", "credentials"):
        (home / ".aws" / name).write_text("[default\nregion", "utf-8")
    values = {"file": str(broken), "home": str(home), "models": str(models), "proxy": listener[0]}
    return lambda environment: {name: value.format(**values) for name, value in environment.items()}


def story() -> list[Any]:
    """What a test sees of both helpers: backups, requests, headers, attempts."""
    seen: list[Any] = []
    with LocalCloudHsm() as service:
        boto3_client: Any = service.boto3_client()

        def before_send(request: Any, **_: object) -> None:
            seen.append(headers(request))

        boto3_client.meta.events.register("before-send.cloudhsm-v2", before_send)
        backup = service.add_backup(backup_id="backup-a2b3c4d5e6f", backup_state="PENDING_DELETION")
        service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
        with service.client() as client:
            seen.append(client.ensure_restored(backup.backup_id))
        seen.append(boto3_client.describe_backups()["Backups"][0]["BackupId"])
        seen.append([(each.operation, each.fault) for each in service.requests])
        boto3_client.close()
    with RestoreStubber() as stub:
        stub.add_error(ConnectionLostError)
        stub.add_response({"Backups": [backup_response(backup_id="backup-a2b3c4d5e6f")["Backup"]]})
        seen.append(stub.client.ensure_restored("backup-a2b3c4d5e6f").backup_state)
    return seen


def headers(request: Any) -> dict[str, str]:
    """The headers that a client sends, without those that differ from request to request."""
    differ = {"X-Amz-Date", "Authorization", "amz-sdk-invocation-id"}
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
        if name not in differ
    }


@contextmanager
def a_first_client() -> Generator[None]:
    """Has the sessions created anew, as by the first test of a process."""
    isolated._session.cache_clear()
    yield
    isolated._session.cache_clear()


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    """The same in an environment without anything."""
    with pytest.MonkeyPatch.context() as patch, a_first_client():
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        return story()


@pytest.mark.parametrize("environment", [*HOSTILE.values(), *OTHERS.values()], ids=[*HOSTILE, *OTHERS])
def test_the_environment_changes_nothing(
    environment: Mapping[str, str],
    filled_in: Hostile,
    expected: list[Any],
    listener: tuple[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same test sees the same requests, headers and backups; no proxy or metadata service is called."""
    for name, value in filled_in(environment).items():
        monkeypatch.setenv(name, value)
    with a_first_client():
        assert story() == expected
    assert listener[1] == []


def test_all_of_it_at_once_changes_nothing(filled_in: Hostile, listener: tuple[str, list[Any]]) -> None:
    """A process that starts with all of these variables sees the same as one that starts with none."""
    hostile = {name: value for each in (*OTHERS.values(), *HOSTILE.values()) for name, value in each.items()}
    seen: list[Any] = []
    for environment in ({"HOME": "/nonexistent"}, filled_in(hostile)):
        program = "from tests.test_isolation import story; print(story())"
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=Path(__file__).parent.parent,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        seen.append(run.stdout)
    assert seen[0] == seen[1]
    assert "READY" in seen[0]
    assert listener[1] == []


def test_there_are_many() -> None:
    """More than 30 environments are tried."""
    assert len(HOSTILE) > 30
    assert len(OTHERS) > 5
