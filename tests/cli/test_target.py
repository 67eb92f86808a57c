"""Where the command works, as the client that was created says, and what must not be shown."""

from pathlib import Path

import pytest

from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ..terminal import environment, run
from .helpers import SECRET, Call, here, pending


@pytest.fixture
def profiles(service: LocalCloudHsm, tmp_path: Path) -> dict[str, str]:
    """An environment with a profile that has a services section, and one that ignores endpoints."""
    config = tmp_path / "config"
    config.write_text(f"""
[profile dev]
aws_access_key_id = a
aws_secret_access_key = b
region = us-east-1
services = local
[services local]
cloudhsm_v2 =
  endpoint_url = {service.endpoint_url}
[profile prod]
aws_access_key_id = a
aws_secret_access_key = b
region = us-east-1
ignore_configured_endpoint_urls = true
""")
    return environment(tmp_path, AWS_MAX_ATTEMPTS="1", AWS_CONFIG_FILE=str(config))


def test_endpoint_of_a_services_section(service: LocalCloudHsm, profiles: dict[str, str]) -> None:
    """The endpoint of a profile is named in every message."""
    [backup_id] = pending(service)
    where = f"account 111122223333, profile dev, {here(service)}"
    for arguments in (["list", "-o", "table"], ["restore", "--dry-run", backup_id], ["restore", backup_id]):
        ran = run(*arguments, "--profile", "dev", env=profiles)
        assert ran.status == 0
        assert where in ran.err
    ran = run("show", "backup-7777777zzzz", "--profile", "dev", env=profiles)
    assert ran.err.endswith(f"\nTarget: account unknown, profile dev, {here(service)}.\n")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDHSM_V2"])
def test_endpoint_that_is_ignored(service: LocalCloudHsm, profiles: dict[str, str], name: str) -> None:
    """An endpoint that boto3 ignores is not named: the message has the endpoint that is called."""
    env = profiles | {name: service.endpoint_url, "HTTPS_PROXY": "http://127.0.0.1:1"}
    ran = run("list", "--profile", "prod", env=env)
    assert ran.status == 1
    assert service.endpoint_url not in ran.err
    assert "region us-east-1, endpoint https://cloudhsmv2.us-east-1.amazonaws.com." in ran.err
    assert service.requests == ()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDHSM_V2"])
def test_environment_overrides_the_profile(profiles: dict[str, str], name: str) -> None:
    """An endpoint in the environment against one in the profile: the message has the one that is called."""
    with LocalCloudHsm() as other:
        other.add_backup(backup_state="PENDING_DELETION")
        ran = run("list", "--profile", "dev", "-o", "table", env=profiles | {name: other.endpoint_url})
        assert f"endpoint {other.endpoint_url}." in ran.err
        assert len(other.requests) == 1


def test_password_of_an_endpoint(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """The password of an endpoint is masked in every message, wherever it was configured."""
    endpoint = service.endpoint_url.replace("//", f"//user:{SECRET}@")
    plain = {name: value for name, value in env.items() if "ENDPOINT" not in name}
    ids = pending(service, 3)
    shown = f"endpoint {service.endpoint_url.replace('//', '//***@')}"
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    for ran in (
        run("restore", "--dry-run", ids[0], env=plain | {"AWS_ENDPOINT_URL": endpoint}),
        run("restore", ids[0], "--endpoint-url", endpoint, env=plain),
        run("restore", *ids, "-y", "-v", env=plain | {"AWS_ENDPOINT_URL_CLOUDHSM_V2": endpoint}),
    ):
        assert shown in ran.err
        assert SECRET not in ran.err + ran.out


def test_credentials_are_not_shown(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """No credential is in anything that is written, not even with --verbose."""
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET, "AWS_ACCESS_KEY_ID": SECRET}
    ids = pending(service, 2)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    runs = [
        run("restore", *ids, "--yes", "--verbose", env=env | secrets),
        run("list", "--verbose", "--endpoint-url", f"http://user:{SECRET}@127.0.0.1:1", env=env | secrets),
    ]
    assert [ran.status for ran in runs] == [1, 1]
    assert f'RestoreBackup {{"BackupId": "{ids[0]}"}}' in runs[0].err
    for ran in runs:
        assert SECRET not in ran.out + ran.err


def test_no_region(env: dict[str, str]) -> None:
    """Without a region no target is named; with an endpoint none is needed, and none is invented."""
    plain = {name: value for name, value in env.items() if "REGION" not in name and "ENDPOINT" not in name}
    expected = "Error: You must specify a region. Pass --region or set AWS_DEFAULT_REGION"
    assert run("list", env=plain | {"AWS_REGION": "us-east-1"}).err.startswith(expected)
    ran = run("list", env=env | {"AWS_DEFAULT_REGION": "", "AWS_REGION": ""})
    assert f"region not set, endpoint {env['AWS_ENDPOINT_URL_CLOUDHSM_V2']}" in ran.err


def test_verbose(service: LocalCloudHsm, call: Call) -> None:
    """With --verbose, each attempt is logged with its time in UTC, and its response with its request ID."""
    [backup_id] = pending(service)
    service.inject(Fault.THROTTLED, "RestoreBackup")
    service.inject(Fault.DROP_BEFORE_WORK, "RestoreBackup")
    ran = call("-v", "restore", backup_id, AWS_MAX_ATTEMPTS="3", AWS_RETRY_MODE="standard", TZ="Asia/Tokyo")
    lines = [line.split(" ", 1) for line in ran.err.splitlines() if " RestoreBackup" in line]
    request = f'RestoreBackup {{"BackupId": "{backup_id}"}}'
    attempts = [text.partition(", request ID ")[0] for _, text in lines[:6]]
    assert attempts == [
        request,
        "RestoreBackup: HTTP 400, ThrottlingException",
        request,
        "RestoreBackup: ConnectionClosedError",
        request,
        "RestoreBackup: HTTP 200",
    ]
    assert len(lines[1][1].partition(", request ID ")[2]) == 36
    assert all(
        moment.startswith(f"{service.now:%Y-%m-%dT%H}") and moment.endswith("Z") for moment, _ in lines
    )
