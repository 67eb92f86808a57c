"""No credential is ever in a message, a repr, a traceback, a log line or a pickle."""

import base64
import configparser
import copy
import html
import json
import logging
import pickle
import re
import textwrap
import traceback
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.exceptions import ClientError, ConfigParseError, HTTPClientError

from cloudhsm_restore import ApiError, ConfigurationError, ConnectError, RestoreClient, RestoreError
from cloudhsm_restore._log import state_name
from cloudhsm_restore._redaction import KEPT, PATTERNS_ONLY, Masker, masker_of, printable, url_secrets

from .clients import config
from .counting import calls
from .raw_server import BACKUP_ID, RawServer, error_response, http, wire_backup

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
    for frame, _ in traceback.walk_tb(failure.__traceback__):
        # An error tracker sends local variables.
        if frame.f_globals["__name__"].startswith("cloudhsm_restore."):
            shown.append(repr(frame.f_locals))
    for text in shown:
        for secret in SECRETS:
            assert secret not in text


def make_client(endpoint_url: str, **options: Any) -> RestoreClient:
    """A client with secrets that can be recognized."""
    session = boto3.Session("AKIAEXAMPLE", KEY, TOKEN, region_name="us-east-1")
    return RestoreClient(session=session, endpoint_url=endpoint_url, config=config(**options))


def test_a_password_in_the_endpoint_url(caplog: pytest.LogCaptureFixture) -> None:
    """botocore quotes the whole endpoint URL; the error masks its password, and so does its cause."""
    with nothing_leaks(caplog) as caught, make_client(f"http://user:{PASSWORD}@127.0.0.1:1") as client:
        client.restore_backup(BACKUP_ID)
    assert type(caught[0]) is ConnectError
    assert "//***@127.0.0.1:1" in str(caught[0])


def test_a_password_in_an_invalid_endpoint_url(caplog: pytest.LogCaptureFixture) -> None:
    """The password of an invalid URL is masked in the error of the constructor."""
    with nothing_leaks(caplog), make_client(f"http://user:{PASSWORD}@127.0.0.1:99999"):
        pass
    with nothing_leaks(caplog), make_client(f"http://user:{PASSWORD}@"):
        pass


def test_a_password_in_the_proxy_url(caplog: pytest.LogCaptureFixture) -> None:
    """The password of a proxy that does not listen is masked."""
    proxies = {"http": f"http://user:{PASSWORD}@127.0.0.1:1"}
    with nothing_leaks(caplog) as caught, make_client("http://127.0.0.1:2", proxies=proxies) as client:
        client.restore_backup(BACKUP_ID)
    assert type(caught[0]) is ConnectError


def test_a_token_that_is_not_a_valid_header(caplog: pytest.LogCaptureFixture) -> None:
    """http.client and botocore quote a session token with a line break; the error masks it."""
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
    "response",
    [
        error_response("InvalidSignatureException", CANONICAL),
        error_response(
            "SomethingElse", f"Authorization: AWS4 and X-Amz-Security-Token={TOKEN}&Password={PASSWORD}"
        ),
        http({"Backup": wire_backup(BackupState=5, ClusterId=f"x-amz-security-token: {TOKEN}")}),
        http({"Backup": {"BackupId": f"http://user:{PASSWORD}@host"}}),
        http({"Backup": wire_backup(CreateTimestamp=f"SessionToken={TOKEN}")}),
    ],
    ids=["signature", "any error", "malformed", "another backup", "timestamp"],
)
def test_a_response_that_repeats_the_request(
    raw_server: RawServer, caplog: pytest.LogCaptureFixture, response: bytes
) -> None:
    """The response to an invalid signature repeats the request with its token, which is masked."""
    with nothing_leaks(caplog), make_client(raw_server.respond(response)) as client:
        client.restore_backup(BACKUP_ID)


def test_the_rest_is_kept(raw_server: RawServer) -> None:
    """Text that is not a secret is not masked."""
    with make_client(raw_server.respond(error_response("InvalidSignatureException", CANONICAL))) as client:
        with pytest.raises(ApiError, match="x-amz-date:20260102T030405Z") as caught:
            client.restore_backup(BACKUP_ID)
        assert "x-amz-security-token:***" in caught.value.message


def percent_encoded(secret: str) -> str:
    return quote(secret, safe="")


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL-encoded": percent_encoded,
    "URL-encoded in lower case": lambda secret: re.sub(
        "%..", lambda it: it[0].lower(), percent_encoded(secret)
    ),
    "JSON": lambda secret: json.dumps({"token": secret}),
    "JSON with escaped slashes": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "JSON in ASCII escapes": lambda secret: "".join(f"\\u{ord(character):04x}" for character in secret),
    "HTML": html.escape,
    "HTML in numbers": lambda secret: "".join(f"&#{ord(character)};" for character in secret),
    "HTML in hexadecimal numbers": lambda secret: "".join(f"&#x{ord(character):x};" for character in secret),
    "wrapped": lambda secret: "\r\n  ".join(textwrap.wrap(secret, 7)),
    "wrapped in JSON": lambda secret: json.dumps("\n".join(textwrap.wrap(secret, 7))),
    "repr of bytes": lambda secret: repr(secret.encode()),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 of more": lambda secret: base64.b64encode(f"x:{secret}, and more".encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(f"{secret}!".encode()).decode(),
    "base64, wrapped": lambda secret: "\n".join(textwrap.wrap(FORMS["base64 of more"](secret), 20)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("secret", [TOKEN, KEY, PASSWORD, "p&ss<wörd>'\"+/%"])
def test_a_known_secret_is_masked_in_every_form(form: Callable[[str], str], secret: str) -> None:
    """A secret of the call is masked by its value, however a server or a library has written it."""
    shown = form(secret)
    masked = Masker([secret]).text(f"before {shown} after")
    # In a text with a secret in several lines, the place of the secret is not known.
    assert masked == "***" or (masked.startswith("before ") and masked.endswith(" after"))
    assert "***" in masked
    # Three characters in a row may remain at the edges of base64, where they also depend on their neighbors.
    assert not any(shown[place : place + 8] in masked for place in range(8, len(shown) - 16))


ESCAPED: dict[str, Callable[[str], str]] = {
    "URL in a URL": lambda secret: percent_encoded(percent_encoded(secret)),
    "URL in JSON": lambda secret: percent_encoded(secret).replace("%", "\\u0025"),
    "URL in HTML": lambda secret: percent_encoded(secret).replace("%", "&#37;"),
    "URL in JSON in HTML": lambda secret: percent_encoded(secret).replace("%", "&#92;u0025"),
}


@pytest.mark.parametrize("form", ESCAPED.values(), ids=ESCAPED)
def test_a_secret_that_is_escaped_more_than_once_is_masked(form: Callable[[str], str]) -> None:
    """The whole word with the secret in it is masked."""
    text = f"before {form(TOKEN)} after"
    assert Masker([TOKEN]).text(text) == "before *** after"
    assert Masker([TOKEN]).data({"a": [text]}) == {"a": ["before *** after"]}
    assert Masker([TOKEN]).text(form("something else")) == form("something else")


def test_a_short_secret_is_masked_as_a_word_of_its_own() -> None:
    """The key "test" of a local service is not masked within other words."""
    mask = Masker(["test"])
    assert mask.text("the latest testing of backup-test1234567") == "the latest testing of backup-test1234567"
    assert mask.text("key=test, and 'test'") == "key=***, and '***'"
    assert mask.data({"a": "the latest"}) == {"a": "the latest"}
    assert Masker(["testtest"]).text("atesttestb") == "a***b"


def test_the_name_of_a_user_is_not_masked() -> None:
    """The user name of a URL without a password is not a secret; a long one can be a token."""
    text = "User: arn:aws:iam::111122223333:user/ops is not authorized"
    assert Masker(url_secrets(None, "http://user@127.0.0.1:1")).text(text) == text
    assert Masker(url_secrets(None, f"http://{PASSWORD}user@127.0.0.1:1")).text(f"{PASSWORD}user") == "***"
    assert Masker(url_secrets(None, f"http://user:{PASSWORD}@127.0.0.1:1")).text(PASSWORD) == "***"


@pytest.mark.parametrize(
    "text",
    [
        "password: must be set",
        "The proxy rejected the password: Try another one",
        "The value for parameter sessionToken: must not be empty",
        "Authorization: Bearer scheme expected",
        "Error loading login session token: Unable to load a existing login session for session x.",
        "User: arn:aws:sts::111122223333:assumed-role/Admin/ops@example.com is not authorized.",
        "The security token included in the request is expired",
        "https://host/path?mail=a@b",
        'Could not connect to the endpoint URL: "https://cloudhsmv2.us-east-1.amazonaws.com/"',
        "backup-a2b3c4d5e6f is in state READY",
        "100% of &lt;b&gt; and C:\\new\\table",
    ],
)
def test_other_text_is_kept(text: str) -> None:
    """Sentences have words such as token and password in them, and none is masked."""
    assert Masker([TOKEN, KEY, PASSWORD]).text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pw@host/", "http://***@host/"),
        ("Invalid endpoint: user:pw@127.0.0.1:1", "Invalid endpoint: ***@127.0.0.1:1"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("<SecretAccessKey>abc</SecretAccessKey>", "<SecretAccessKey>***</SecretAccessKey>"),
        ("'SecretAccessKey': 'abc'", "'SecretAccessKey': '***'"),
        ("aws_session_token=abc", "aws_session_token=***"),
        ("x-amz-security-token:abc\nhost:x", "x-amz-security-token:***\nhost:x"),
        ("Signature=abc", "Signature=***"),
    ],
)
def test_a_secret_of_another_call_is_masked_by_its_name(text: str, shown: str) -> None:
    """The values of other calls' secrets are not known, so that the name beside them counts."""
    assert PATTERNS_ONLY.text(text) == shown


def test_the_work_is_linear() -> None:
    """A text a hundred times as long takes no more calls than the part that is kept."""

    def steps(text: str) -> int:
        return calls(lambda: Masker([TOKEN, KEY]).text(text)).total()

    for part in (
        "//",
        "password ",
        "&amp",
        "\\u00",
        "secret_access_key:",
        "Invalid endpoint: ",
        "%2",
        TOKEN[:-1],
    ):
        assert steps(part * 500_000) <= 1.1 * steps(part * 5_000) + 200


@pytest.mark.parametrize("text", [TOKEN, "no secret"])
def test_data_is_bounded(text: str) -> None:
    """The data that an error keeps is bounded in depth, in number, and in length."""
    deep: Any = text
    for _ in range(900):
        deep = [deep]
    mask = Masker([TOKEN])
    assert repr(mask.data(deep)).count("[") <= 10
    assert len(repr(mask.data([TOKEN] * 100_000))) < 10_000
    assert len(mask.data({"a": "x" * 10 * KEPT})["a"]) == KEPT
    assert len(repr(mask.data(["x" * KEPT, text] * 100))) < 40 * KEPT
    assert mask.data(b"x" + TOKEN.encode()) == b"x***"
    assert mask.data({"x": object()}) == {"x": "<object>"}
    assert mask.data({"Authorization": "abc", "Set-Cookie": "d"}) == {
        "Authorization": "***",
        "Set-Cookie": "***",
    }


def test_a_secret_at_the_cut_is_masked_whole() -> None:
    """A text that is truncated within a secret keeps no part of the secret."""
    for place in range(KEPT - len(TOKEN) - 2, KEPT + 2):
        shown = Masker([TOKEN]).text("." * place + TOKEN + "." * 100)
        assert TOKEN[:4] not in shown
        assert len(shown) <= KEPT
    assert TOKEN[:4] not in Masker([TOKEN]).text(f"{TOKEN} " * KEPT)
    # With long secrets before it, what is left of the text is shorter than what may be a part of a secret.
    token = "".join(chr(97 + (number * number * 7 + number // 5) % 26) for number in range(1100))
    for filler in (*range(12_100, 12_120), *range(16_400, 16_420)):
        shown = Masker([token]).text(f"{token} " * 4 + "x" * filler + token * 2)
        assert token[:12] not in shown
        assert len(shown) <= KEPT


@pytest.mark.parametrize("shown", [r"\ud83d\ude00-pass", r"\U0001f600-pass", "\U0001f600-pass"])
def test_a_secret_with_an_emoji_is_masked(shown: str) -> None:
    """JSON escapes an emoji as a pair of surrogates, and Python with eight digits."""
    assert Masker(["\U0001f600-pass"]).text(f"before {shown} after") == "before *** after"


def test_a_secret_with_spaces_in_a_form_is_masked() -> None:
    """In the query of a URL, a plus sign stands for a space."""
    assert Masker(["my pass phrase"]).text("before my+pass+phrase after") == "before *** after"


@pytest.mark.parametrize("state", ["TOKEN/+=DELETED", "DELETED 7", "deleted", "A" * 41, ""])
def test_a_text_in_place_of_a_state_is_not_shown(state: str) -> None:
    """A server can send any text. The names of states are of capitals and underscores."""
    assert state_name(state) == "not a valid state"
    assert state_name("RESTORE_IN_PROGRESS") == "RESTORE_IN_PROGRESS"


def test_an_exception_with_deep_arguments_is_masked() -> None:
    """JSON cannot hold them, so that each of them is looked at."""
    deep: Any = TOKEN
    for _ in range(5_000):
        deep = [deep]
    error = ValueError(deep, TOKEN)
    assert Masker([TOKEN]).exception(error, None) is error
    assert error.args[1] == "***"


def test_a_secret_with_a_space_in_it_is_masked() -> None:
    """A password can be of several words."""
    assert Masker(["my pass phrase"]).text("before my pass phrase after") == "before *** after"


def test_a_secret_that_looks_as_if_it_had_escapes_is_masked() -> None:
    """The password of a URL is masked as it was written there and as it was meant, and in JSON."""
    mask = Masker(url_secrets(None, "http://user:p%C3%A4ss%40word@127.0.0.1:1"))
    assert mask.text("before p%C3%A4ss%40word and päss@word after") == "before *** and *** after"
    assert Masker(['p%41ss"word']).text(r'before "p%41ss\"word" after') == "before *** after"


def test_what_was_sent_is_masked() -> None:
    """The token of credentials that have been refreshed since, and the signature, are in the request."""
    authorization = b"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0123456789abcdef"
    headers = {"X-Amz-Security-Token": TOKEN.encode(), "Authorization": authorization}
    mask = masker_of(None, SimpleNamespace(headers=headers), ())
    assert mask.text(f"{TOKEN} and 0123456789abcdef") == "*** and ***"


def test_what_the_caller_was_handling_stays_as_it_is() -> None:
    """An exception that is handled while this library is called is the caller's."""
    handled, error = json.JSONDecodeError("Expecting value", "text", 0), ValueError(TOKEN)
    error.__context__ = handled
    assert Masker([TOKEN]).exception(error, handled) is error
    assert error.args == ("***",)
    assert error.__context__ is handled


def test_the_text_of_an_exception_is_kept() -> None:
    """An attribute that was not set is not set by masking."""
    error = Masker([TOKEN]).exception(FileNotFoundError(2, "No such file", TOKEN), KeyError())
    assert str(error) == "[Errno 2] No such file: '***'"


def test_the_data_of_an_exception_is_bounded() -> None:
    """A response that is nested too deep to pickle is bounded in botocore's exception, too."""
    deep: Any = "no secret"
    for _ in range(100):
        deep = [deep]
    response: Any = {"Error": {"Message": deep}}
    error: Any = Masker([TOKEN]).exception(ClientError(response, "RestoreBackup"), None)
    assert repr(error.response).count("[") < 10


@pytest.mark.parametrize("before", ["", "x", "xx", "xxx"])
def test_a_secret_anywhere_in_base64_is_masked(before: str) -> None:
    """What precedes the secret in a text in base64 shifts it."""
    secret = "for-tests-only-secret"
    shown = b64encode(f"{before}{secret}{before}".encode()).decode()
    masked = Masker([secret]).text(shown)
    assert before or masked.startswith("***")
    assert len(masked) <= len("***") + 12


def test_the_longest_secret_is_masked_first() -> None:
    """No end of a secret is shown because another one is its beginning."""
    assert (
        Masker(["for-tests-only", "for-tests-only-and-more"]).text("a for-tests-only-and-more b") == "a *** b"
    )


def test_a_page_of_backups_is_kept_whole() -> None:
    """Data of the size of a response of the service stays as it is, numbers included."""
    backup = {f"Field{number}": "a text of some length" for number in range(12)}
    page = {"Backups": [backup | {"CreateTimestamp": 1534461854.64, "NeverExpires": True, "Size": 5}] * 50}
    assert Masker().data(page) == page
    assert Masker().data({404: "no text as its key"}) == {404: "no text as its key"}


def test_the_name_of_a_field_masks_its_value() -> None:
    """Data with another call's credentials in it is masked by name, also if it is JSON within JSON."""
    data = {"SecretAccessKey": "abc", "NextToken": "abc"}
    assert PATTERNS_ONLY.data(data) == {"SecretAccessKey": "***", "NextToken": "abc"}
    text = json.dumps(json.dumps(data))
    assert "abc" not in PATTERNS_ONLY.text(text).partition("NextToken")[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n  b\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\u202eevil\u2066", "?evil?"),
        ("half \ud800", "half ?"),
        ("zero\u200bwidth\ufeff", "zero?width?"),
        ("naïve ✓", "naïve ✓"),
    ],
)
def test_messages_are_printable(text: str, shown: str) -> None:
    """A message is one line, without control characters, bidirectional marks, and lone surrogates."""
    assert printable(text) == shown


@pytest.mark.parametrize("password", ["p/ss", "p#ss", "p?ss", "p'ss", 'p"ss'])
def test_a_password_that_should_have_been_escaped(password: str, caplog: pytest.LogCaptureFixture) -> None:
    """A password that makes the URL invalid is masked in the error about the URL."""
    url = f"http://user:{PASSWORD}{password}@127.0.0.1:1"
    with nothing_leaks(caplog), make_client(url) as client:
        client.restore_backup(BACKUP_ID)
    with nothing_leaks(caplog), make_client("http://127.0.0.1:1", proxies={"http": url}) as client:
        client.restore_backup(BACKUP_ID)


def test_the_cause_carries_no_secret(raw_server: RawServer) -> None:
    """The secrets in botocore's exception are masked too."""
    response = error_response("InvalidSignatureException", CANONICAL)
    for client in (
        make_client(f"http://user:{PASSWORD}@127.0.0.1:1"),
        make_client(raw_server.respond(response)),
    ):
        with client, pytest.raises(RestoreError) as caught:
            client.restore_backup(BACKUP_ID)
        carried = repr(vars(caught.value.__cause__)) + pickle.dumps(caught.value.__cause__, 0).decode(
            "latin-1"
        )
        assert not any(secret in carried for secret in SECRETS)


class SlottedError(Exception):
    """An exception with data beside its ``__dict__``."""

    __slots__ = ("data",)

    def __init__(self, data: str) -> None:
        super().__init__("invalid data")
        self.data = data


CAUSES: dict[str, Callable[[], Exception]] = {
    "configparser": lambda: configparser.MissingSectionHeaderError("config", 1, f"token = {TOKEN}"),
    "JSON": lambda: json.JSONDecodeError("Expecting value", f"{TOKEN} printed", 0),
    "file name": lambda: FileNotFoundError(2, "No such file", f"/{TOKEN}", None, f"/to/{TOKEN}"),
    "group": lambda: ExceptionGroup("several", [ValueError(TOKEN)]),
    "slots": lambda: SlottedError(TOKEN),
    "import": lambda: ImportError("no module", name=TOKEN, path=TOKEN),
    "stop": lambda: StopIteration(TOKEN),
    "set": lambda: ValueError({TOKEN}),
    "another exception": lambda: ValueError([OSError(2, "No such file", TOKEN)]),
}


def reachable(value: object) -> Iterator[str]:
    """Yield the text of all that can be reached from an exception, without tracebacks."""
    seen: set[int] = set()
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield repr(item)
        if isinstance(item, BaseException):
            yield str(item)
            names = {name for name in dir(item) if not name.startswith("__")}
            names |= {"__cause__", "__context__", "__notes__"}
            waiting += [getattr(item, name, None) for name in names if name != "with_traceback"]
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple | set):
            waiting += item


@pytest.mark.parametrize("original", CAUSES.values(), ids=CAUSES)
def test_no_field_of_a_cause_carries_a_secret(
    caplog: pytest.LogCaptureFixture, original: Callable[[], Exception]
) -> None:
    """A secret is masked wherever an exception within botocore's keeps it."""
    assert any(TOKEN in text for text in reachable(original()))

    def fail(**_: object) -> None:
        raise HTTPClientError(error=original())

    with nothing_leaks(caplog) as caught, make_client("http://127.0.0.1:1") as client:
        client._client.meta.events.register("before-send.cloudhsm-v2", fail)
        client.restore_backup(BACKUP_ID)
    assert isinstance(caught[0].__cause__, HTTPClientError)
    for text in reachable(caught[0]):
        assert "TOKENTOKEN" not in text


@pytest.mark.parametrize(
    "original",
    [
        json.JSONDecodeError("Expecting value", "another-secret printed", 0),
        configparser.MissingSectionHeaderError("config", 1, "another-secret"),
    ],
    ids=["JSON", "configparser"],
)
def test_a_cause_keeps_no_input_that_could_not_be_parsed(original: Exception) -> None:
    """A file or an output that could not be parsed can have any secret in it, also an unknown one."""
    error = Masker([TOKEN]).exception(ConfigParseError(path="config", error=original), None)
    texts = [*reachable(error)]
    assert not any("another-secret" in text for text in texts)
    assert any(type(original).__name__ in text for text in texts)


def test_additions_of_instrumentation_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    """Secrets that instrumentation has added to botocore's exception are masked too."""

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
    with make_client(raw_server.respond(http({"Backup": wire_backup()}))) as client:
        client.restore_backup(BACKUP_ID)
    records = [str(vars(record)) for record in caplog.records if record.name == "cloudhsm_restore"]
    assert records
    assert not any(secret in record for record in records for secret in SECRETS)
