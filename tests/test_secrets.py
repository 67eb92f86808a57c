"""No credential is ever in a message, a repr, a traceback, a log line or a pickle."""

import copy
import logging
import pickle
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cloudhsm_restore import ApiError, ConfigurationError, ConnectError, RestoreClient, RestoreError
from cloudhsm_restore._secrets import redacted

from .clients import config
from .raw_server import BACKUP_ID, RawServer, error, http, wire_backup

KEY, TOKEN, PASSWORD = "SECRETKEYSECRETKEYSECRETKEY", "TOKENTOKENTOKENTOKEN/+=", "hunter2pass"
SECRETS = (KEY, "SECRETKEY", TOKEN, "TOKENTOKEN", PASSWORD)


@contextmanager
def nothing_leaks(caplog: pytest.LogCaptureFixture) -> Generator[list[RestoreError]]:
    """Collects the error that is raised inside, and looks for secrets wherever it shows."""
    caught: list[RestoreError] = []
    caplog.set_level(logging.DEBUG, "cloudhsm_restore")
    try:
        yield caught
    except RestoreError as error:
        caught.append(error)
    [failure] = caught
    shown = [str(failure), repr(failure), repr(vars(failure)), "".join(traceback.format_exception(failure))]
    for again in (pickle.loads(pickle.dumps(failure)), copy.deepcopy(failure)):
        shown += [str(again), repr(vars(again))]
    shown.append(pickle.dumps(failure, 0).decode("latin-1"))
    shown += [str(vars(record)) for record in caplog.records if record.name.startswith("cloudhsm_restore")]
    shown.append("".join(traceback.format_exception(failure.__cause__)) if failure.__cause__ else "")
    for text in shown:
        for secret in SECRETS:
            assert secret not in text


def make_client(endpoint_url: str, **options: Any) -> RestoreClient:
    """A client with secrets that can be recognised."""
    session = boto3.Session("AKIAEXAMPLE", KEY, TOKEN, region_name="us-east-1")
    return RestoreClient(session=session, endpoint_url=endpoint_url, config=config(**options))


def test_a_password_in_the_endpoint_url(caplog: pytest.LogCaptureFixture) -> None:
    """botocore quotes the whole endpoint URL; we do not, and neither does the cause any more."""
    with nothing_leaks(caplog) as caught, make_client(f"http://user:{PASSWORD}@127.0.0.1:1") as client:
        client.restore_backup(BACKUP_ID)
    assert type(caught[0]) is ConnectError
    assert "//***@127.0.0.1:1" in str(caught[0])


def test_a_password_in_an_endpoint_url_that_cannot_be_used(caplog: pytest.LogCaptureFixture) -> None:
    """Nor when the client is being made."""
    with nothing_leaks(caplog), make_client(f"http://user:{PASSWORD}@127.0.0.1:99999"):
        pass
    with nothing_leaks(caplog), make_client(f"http://user:{PASSWORD}@"):
        pass


def test_a_password_in_the_proxy_url(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that does not answer is not introduced with its password."""
    proxies = {"http": f"http://user:{PASSWORD}@127.0.0.1:1"}
    with nothing_leaks(caplog) as caught, make_client("http://127.0.0.1:2", proxies=proxies) as client:
        client.restore_backup(BACKUP_ID)
    assert type(caught[0]) is ConnectError


def test_a_token_that_cannot_be_a_header(caplog: pytest.LogCaptureFixture) -> None:
    """A session token with a line break in it is quoted by http.client, and by botocore; not by us."""
    session = boto3.Session("AKIAEXAMPLE", KEY, TOKEN + "\nx", region_name="us-east-1")
    with (
        nothing_leaks(caplog) as caught,
        RestoreClient(session=session, endpoint_url="http://127.0.0.1:1", config=config()) as client,
    ):
        client.restore_backup(BACKUP_ID)
    assert type(caught[0]) is ConfigurationError
    assert not caught[0].outcome_unknown


CANONICAL = (
    "The request signature we calculated does not match the signature you provided. The Canonical String "
    "for this request should have been\n'POST\n/\n\nhost:x\nx-amz-date:20260102T030405Z\n"
    f"x-amz-security-token:{TOKEN}\n\ncontent-type;host'"
)


@pytest.mark.parametrize(
    "answer",
    [
        error("InvalidSignatureException", CANONICAL),
        error("SomethingElse", f"Authorization: AWS4 and X-Amz-Security-Token={TOKEN}&Password={PASSWORD}"),
        http({"Backup": wire_backup(BackupState=5, ClusterId=f"x-amz-security-token: {TOKEN}")}),
        http({"Backup": {"BackupId": f"http://user:{PASSWORD}@host"}}),
        http({"Backup": wire_backup(CreateTimestamp=f"SessionToken={TOKEN}")}),
    ],
    ids=["signature", "any error", "malformed", "another backup", "timestamp"],
)
def test_an_answer_that_repeats_the_request(
    raw_server: RawServer, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    """AWS answers a bad signature with the request that it saw, token included; it stays out of sight."""
    with nothing_leaks(caplog), make_client(raw_server.answer(answer)) as client:
        client.restore_backup(BACKUP_ID)


def test_the_rest_is_kept(raw_server: RawServer) -> None:
    """What is no secret is not masked."""
    with make_client(raw_server.answer(error("InvalidSignatureException", CANONICAL))) as client:
        with pytest.raises(ApiError, match="x-amz-date:20260102T030405Z") as caught:
            client.restore_backup(BACKUP_ID)
        assert "x-amz-security-token:***" in caught.value.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:p@ss@host/path", "https://***@host/path"),
        ("https://host/path?mail=a@b", "https://host/path?mail=a@b"),
        ("https://host:8443/path?mail=a@b", None),
        ("http://u:a'pw@host/", "http://***@host/"),
        ("http://u:a pw@host/", "http://***@host/"),
        ("http://u:a/p#w?x@host/", "http://***@host/"),
        ('http://u:12"34@host/', "http://***@host/"),
        ('"http://host:80" and a@b', None),
        (
            "'p\"w' does not appear to be an IPv4 or IPv6 address",
            "*** does not appear to be an IPv4 or IPv6 address",
        ),
        ("Failed to parse: 'u:pw' is not a valid host", "Failed to parse: *** is not a valid host"),
        ("cast to integer value as 'pw'", "cast to integer value as ***"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("Proxy-Authorization: Basic abc=", "Proxy-Authorization: ***"),
        ("<SecretAccessKey>abc</SecretAccessKey>", "<SecretAccessKey>***</SecretAccessKey>"),
        ("The security token included in the request is expired", None),
        ("'SecretAccessKey': 'abc'", "'SecretAccessKey': '***'"),
        ("aws_secret_access_key = abc", "aws_secret_access_key = ***"),
        ("aws_session_token=abc", "aws_session_token=***"),
        ("Invalid header value b'abc\\ndef'", "Invalid header value ***"),
        ("backup-a2b3c4d5e6f is in state READY", None),
    ],
)
def test_what_counts_as_secret(text: str, shown: str | None) -> None:
    """Secrets are masked where they have a name or a place; other text is left alone."""
    assert redacted(text) == (shown or text)


def test_a_value_is_masked_by_its_key() -> None:
    """A secret needs no name beside it where its key is one."""
    assert redacted({"SecretAccessKey": "abc", "a": [{"SessionToken": "d"}], "Message": "kept"}) == {
        "SecretAccessKey": "***",
        "a": [{"SessionToken": "***"}],
        "Message": "kept",
    }


@pytest.mark.parametrize("password", ["p/ss", "p#ss", "p?ss", "p'ss", 'p"ss'])
def test_a_password_that_should_have_been_escaped(password: str, caplog: pytest.LogCaptureFixture) -> None:
    """A password that breaks the URL is not quoted in the complaint about it."""
    url = f"http://user:{PASSWORD}{password}@127.0.0.1:1"
    with nothing_leaks(caplog), make_client(url) as client:
        client.restore_backup(BACKUP_ID)
    with nothing_leaks(caplog), make_client("http://127.0.0.1:1", proxies={"http": url}) as client:
        client.restore_backup(BACKUP_ID)


def test_the_cause_carries_no_secret(raw_server: RawServer) -> None:
    """What botocore's own exception carries is masked as well."""
    answer = error("InvalidSignatureException", CANONICAL)
    for client in (
        make_client(f"http://user:{PASSWORD}@127.0.0.1:1"),
        make_client(raw_server.answer(answer)),
    ):
        with client, pytest.raises(RestoreError) as caught:
            client.restore_backup(BACKUP_ID)
        carried = repr(vars(caught.value.__cause__)) + pickle.dumps(caught.value.__cause__, 0).decode(
            "latin-1"
        )
        assert not any(secret in carried for secret in SECRETS)


def test_what_others_added_to_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Of botocore's error also that is masked which instrumentation has put there, and not the service."""

    class Instrumented:
        def restore_backup(self, **_: object) -> None:
            error: Any = ClientError(
                {"Error": {"Code": "Throttling", "Message": "Slow down"}}, "RestoreBackup"
            )
            error.args = (*error.args, f"https://user:{PASSWORD}@host/")
            error.url = f"https://user:{PASSWORD}@host/"
            raise error

    instrumented: Any = Instrumented()
    with nothing_leaks(caplog) as caught:
        RestoreClient(instrumented).restore_backup(BACKUP_ID)
    assert PASSWORD not in repr(vars(caught[0].__cause__)) + repr(caught[0].__cause__)


def test_the_log_of_a_success(raw_server: RawServer, caplog: pytest.LogCaptureFixture) -> None:
    """The INFO line of a restore holds no credential either."""
    caplog.set_level(logging.DEBUG, "cloudhsm_restore")
    with make_client(raw_server.answer(http({"Backup": wire_backup()}))) as client:
        client.restore_backup(BACKUP_ID)
    records = [str(vars(record)) for record in caplog.records if record.name == "cloudhsm_restore"]
    assert records
    assert not any(secret in record for record in records for secret in SECRETS)
