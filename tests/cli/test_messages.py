"""Error messages: what to do about them is something to type."""

import re
from pathlib import Path

import pytest

import cloudhsm_restore
from cloudhsm_restore import RestoreError, WaitTimeoutError
from cloudhsm_restore.cli._messages import format_error
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ..raw_server import RawServer, http
from .helpers import Call, pending

_NO_KEY = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
_NO_REGION = {"AWS_DEFAULT_REGION": "", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
_SSO = """
[profile sso]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111122223333
sso_role_name = restorer
"""


@pytest.mark.parametrize(
    ("arguments", "more", "advice"),
    [
        ([], _NO_REGION, "Pass --region or set AWS_DEFAULT_REGION (boto3 does not read AWS_REGION)."),
        ([], _NO_KEY, "Pass --profile or set AWS_PROFILE. For an IAM Identity Center profile, also run"),
        ([], {"AWS_SECRET_ACCESS_KEY": ""}, "Set both the access key ID and the secret access key, or pass"),
        (["--profile", "missing"], {}, "Run `aws configure list-profiles` to list the available profiles."),
        (["--profile", "sso"], {}, "Run `aws sso login` with this profile."),
        (["--endpoint-url", "localhost:4566"], {}, "a URL that starts with http:// or https://."),
        (["--region", "not a region"], {}, "Check the region, the profile, the credentials"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["restore", "backup-a2b3c4d5e6f"]])
def test_configuration_errors(
    call: Call, tmp_path: Path, command: list[str], arguments: list[str], more: dict[str, str], advice: str
) -> None:
    """A configuration error is status 4, and its message names the option or command that fixes it, once."""
    config = tmp_path / "config"
    config.write_text(_SSO)
    ran = call(*command, *arguments, **more, AWS_CONFIG_FILE=str(config))
    assert ran.status == 4
    assert ran.err.count(advice) == 1
    assert ("Check the region" in ran.err) == ("Check the region" in advice)
    assert "region not set" not in ran.err
    assert "Traceback" not in ran.err


PAGE = b"<!DOCTYPE html>\n<html><head><title>Hello</title></head><body>" + b"<p>Please log in.</p>" * 99


@pytest.mark.parametrize(
    "response",
    [
        http(PAGE, content_type="text/html"),
        http(PAGE, "501 Unsupported method", "text/html"),
        http(PAGE, "403 Forbidden", "text/html"),
        http(b"404 page not found", "404 Not Found", "text/plain"),
        http({"hello": 1}),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["restore", "backup-a2b3c4d5e6f", "--timeout", "0"]])
def test_another_server(raw_server: RawServer, call: Call, command: list[str], response: bytes) -> None:
    """A web server or a captive portal in place of CloudHSM is called that, and a retry is not advised."""
    response = re.sub(b"x-amzn-RequestId: .*\r\n", b"", response)
    ran = call(*command, "--endpoint-url", raw_server.respond(*[response] * 9))
    assert ran.status in {1, 3}
    assert "The response does not look like one from CloudHSM. Check the endpoint, the proxy, and" in ran.err
    cause = ran.err.splitlines()[0]
    assert not re.search("Retry|Run the same command again[^ ]|Allow cloudhsm", cause)
    assert max(map(len, ran.err.splitlines())) < 700


def test_gateway_errors(service: LocalCloudHsm, call: Call) -> None:
    """For an error of a gateway of AWS's own, the advice is to retry, once."""
    service.inject(Fault.UNAVAILABLE_HTML, times=9)
    ran = call("list")
    assert "does not look like" not in ran.err
    assert len(re.findall("[Rr]etry", ran.err)) == 1


def test_expired_credentials(service: LocalCloudHsm, call: Call) -> None:
    """Expired credentials are status 4, and the backup is reported as not restored."""
    service.inject(Fault.EXPIRED_CREDENTIALS, times=9)
    ran = call("restore", *pending(service))
    assert ran.status == 4
    assert "0 restored, 0 already restored, 1 failed" in ran.err


def test_advice_is_given_once() -> None:
    """No message gives the same advice twice."""
    for cls in (WaitTimeoutError, RestoreError):
        error = cls("x", operation="RestoreBackup", backup_id="backup-a", outcome_unknown=True)
        assert format_error(error).endswith("Run the same command again to find out.")
    assert format_error(WaitTimeoutError("x")).endswith("Run the same command again.")


def test_advice_is_something_to_type() -> None:
    """No message advises to call a Python function."""
    error = RestoreError("x", operation="RestoreBackup", backup_id="backup-a", outcome_unknown=True)
    assert "()" not in format_error(error)
    for name in cloudhsm_restore.__all__:
        thing = getattr(cloudhsm_restore, name)
        if isinstance(thing, type) and issubclass(thing, RestoreError):
            assert "()" not in format_error(RestoreError(thing.advice))
