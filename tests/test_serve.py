"""The local service for other languages: its control endpoint, its Host check, and the command ``serve``."""

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import Fault, LocalCloudHsm, ReceivedRequest

SERVE = (sys.executable, "-m", "cloudhsm_restore", "serve", "--port", "0")
JSON = {"Content-Type": "application/json"}
LOST = {"fault": "drop-after-work", "operation": "RestoreBackup", "times": 2}


def call(
    url: str, method: str, path: str, content: object = None, headers: Mapping[str, str] = JSON
) -> tuple[int, Any]:
    """Send one request without any SDK; return the status and the JSON of the response."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    received = json.loads(response.read())
    assert "Access-Control-Allow-Origin" not in response.headers
    connection.close()
    return response.status, received


def send(service: LocalCloudHsm, head: str, body: str = "{}") -> bytes:
    """Send raw HTTP and return all that comes back."""
    port = int(service.endpoint_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(f"{head}\r\n\r\n{body}".replace("PORT", str(port)).encode())
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


# --- Faults and the clock over HTTP ---


def test_faults_over_http(service: LocalCloudHsm) -> None:
    """Faults are injected, listed in their order with what is left of them, and cleared."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    url = service.endpoint_url
    assert call(url, "GET", "/_faults") == (200, {"faults": []})
    first = {**LOST, "seconds": 1.0}
    assert call(url, "POST", "/_faults", LOST) == (200, {"faults": [first]})
    slow = {"fault": "delay", "operation": None, "times": 1, "seconds": 0.5}
    assert call(url, "POST", "/_faults", {"fault": "delay", "seconds": 0.5}) == (
        200,
        {"faults": [first, slow]},
    )

    with pytest.raises(http.client.RemoteDisconnected):
        call(url, "POST", "/", {"BackupId": backup_id}, {"X-Amz-Target": "BaldrApiService.RestoreBackup"})
    assert service.requests == (
        ReceivedRequest("RestoreBackup", backup_id, Fault.DROP_AFTER_WORK, done=True),
    )
    assert call(url, "GET", "/_faults") == (200, {"faults": [{**first, "times": 1}, slow]})
    assert call(url, "DELETE", "/_faults") == (200, {"faults": []})
    service.boto3_client().describe_backups()
    assert service.requests[-1].fault is None


def test_the_clock_over_http(service: LocalCloudHsm) -> None:
    """The clock is read and moved; after 7 days a deleted backup is permanently deleted."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    _, before = call(service.endpoint_url, "GET", "/_clock")
    _, after = call(service.endpoint_url, "POST", "/_clock", {"days": 7, "hours": 0.5, "seconds": 1})
    moved = datetime.fromisoformat(after["now"]) - datetime.fromisoformat(before["now"])
    assert timedelta(days=7, minutes=30) < moved < timedelta(days=7, minutes=31)
    assert service.backups[backup_id].backup_state is BackupState.DELETED


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("/_faults", b"", "not a JSON object"),
        ("/_faults", b"[" * 100_000, "not a JSON object"),
        ("/_faults", b"\xff", "not a JSON object"),
        ("/_faults", [LOST], "not a JSON object"),
        ("/_faults", {}, "fault must be a string"),
        ("/_faults", {"fault": "slow"}, "unknown fault 'slow'; expected one of"),
        ("/_faults", {"fault": ["delay"]}, "fault must be a string"),
        ("/_faults", {"fault": "delay", "operation": "restore_backup"}, "unknown operation"),
        ("/_faults", {"fault": "delay", "operation": 1}, "operation a string or null"),
        ("/_faults", {"fault": "delay", "times": 0}, "times must be an integer"),
        ("/_faults", {"fault": "delay", "times": True}, "times must be an integer"),
        ("/_faults", {"fault": "delay", "times": 1.5}, "times must be an integer"),
        ("/_faults", {"fault": "delay", "times": 10**9}, "times must be an integer"),
        ("/_faults", {"fault": "delay", "seconds": -1}, "seconds must be a number"),
        ("/_faults", {"fault": "delay", "seconds": float("nan")}, "seconds must be a number"),
        ("/_faults", {"fault": "delay", "seconds": "1"}, "seconds must be a number"),
        ("/_faults", {"fault": "delay", "second": 1}, "unknown member 'second'"),
        ("/_faults", {"fault": "connection-refused"}, "would stop listening"),
        ("/_clock", {}, "expected numbers of days"),
        ("/_clock", {"weeks": 1}, "expected numbers of days"),
        ("/_clock", {"days": "8"}, "expected numbers of days"),
        ("/_clock", {"days": True}, "expected numbers of days"),
        ("/_clock", {"days": float("inf")}, "expected numbers of days"),
        ("/_clock", {"days": 10**400}, ""),
        ("/_clock", {"days": 10**7}, ""),
        ("/_clock", {"days": -(10**6)}, ""),
    ],
)
def test_invalid_control_requests(service: LocalCloudHsm, path: str, content: object, message: str) -> None:
    """An invalid request is rejected with a message and changes nothing."""
    status, received = call(service.endpoint_url, "POST", path, content)
    assert status == 400
    assert message in received["Message"]
    assert call(service.endpoint_url, "GET", "/_faults") == (200, {"faults": []})
    assert abs(datetime.now(service.now.tzinfo) - service.now) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "/_clock", 405), ("GET", "/", 404), ("DELETE", "/", 404), ("PUT", "/_faults", 501)],
)
def test_methods_that_there_are_not(service: LocalCloudHsm, method: str, path: str, status: int) -> None:
    """Other methods and paths are errors."""
    assert call(service.endpoint_url, method, path)[0] == status


# --- Web pages ---

RESTORE = "POST {} HTTP/1.1\r\nX-Amz-Target: BaldrApiService.RestoreBackup\r\nContent-Length: 34"
BODY = '{"BackupId": "backup-a2b3c4d5e6f"}'
FOREIGN = [
    "Host: evil.example:PORT",
    "Host: evil.example",
    "Host: 127.0.0.1",
    "Host: 127.0.0.1:1",
    "Host: 127.0.0.1.evil.example:PORT",
    "Host: localhost.evil.example:PORT",
    "Host: evil.example@127.0.0.1:PORT",
    "Host: 127.0.0.1:PORT@evil.example",
    "Host: 127.0.0.1:PORT, evil.example",
    "Host: 0.0.0.0:PORT",
    "Host: ::1:PORT",
    "Host:",
    "X-Host: 127.0.0.1:PORT",
    "Host: 127.0.0.1:PORT\r\nHost: evil.example:PORT",
    "Host: evil.example:PORT\r\nX-Forwarded-Host: 127.0.0.1:PORT",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_hosts_get_nothing(service: LocalCloudHsm, host: str) -> None:
    """A page whose name resolves to 127.0.0.1 (DNS rebinding) can read nothing and change nothing."""
    service.add_backup(backup_id="backup-a2b3c4d5e6f", backup_state="PENDING_DELETION")
    inject = f"POST /_faults HTTP/1.1\r\nContent-Type: application/json\r\n{host}\r\nContent-Length: 22"
    for received in (
        send(service, f"{RESTORE.format('/')}\r\n{host}", BODY),
        send(service, f"GET /_faults HTTP/1.1\r\n{host}"),
        send(service, inject, '{"fault": "throttled"}'),
    ):
        assert received.startswith(b"HTTP/1.1 403 ")
        assert b"backup-a2b3c4d5e6f" not in received
    assert service.requests == ()
    assert service.backups["backup-a2b3c4d5e6f"].backup_state is BackupState.PENDING_DELETION
    assert call(service.endpoint_url, "GET", "/_faults") == (200, {"faults": []})


@pytest.mark.parametrize("url", ["http://evil.example/", "http://evil.example:PORT/_faults", "http://[", "x"])
def test_foreign_absolute_targets_get_nothing(service: LocalCloudHsm, url: str) -> None:
    """The absolute form of a request target, which overrides Host, must name the loopback address, too."""
    received = send(service, f"{RESTORE.format(url)}\r\nHost: 127.0.0.1:PORT", BODY)
    assert received.startswith(b"HTTP/1.1 403 ")
    assert service.requests == ()


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT"])
@pytest.mark.parametrize("url", ["/", "http://127.0.0.1:PORT/"])
def test_loopback_hosts_are_served(service: LocalCloudHsm, host: str, url: str) -> None:
    """Each name of the loopback address is as good as another."""
    service.add_backup(backup_id="backup-a2b3c4d5e6f", backup_state="PENDING_DELETION")
    received = send(service, f"{RESTORE.format(url)}\r\nHost: {host}", BODY)
    assert received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; charset=application/json",
        "text/plain, application/json",
        "",
    ],
)
def test_a_page_of_another_site_cannot_inject(service: LocalCloudHsm, content_type: str) -> None:
    """The media types that a browser sends for any page without asking first change nothing."""
    headers = {"Content-Type": content_type, "Origin": "http://evil.example"} if content_type else {}
    for path, content in (("/_faults", {"fault": "throttled"}), ("/_clock", {"days": 8})):
        assert call(service.endpoint_url, "POST", path, content, headers)[0] in {400, 415}
    assert call(service.endpoint_url, "GET", "/_faults") == (200, {"faults": []})
    preflight = send(
        service, "OPTIONS /_faults HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nOrigin: http://evil.example"
    )
    assert preflight.startswith(b"HTTP/1.1 501 ")
    assert b"Access-Control" not in preflight


# --- Requests as they come ---


def test_requests_are_reported_as_they_come() -> None:
    """``on_request`` is called with each request and its status, also if it is not for an AWS operation."""
    reported: list[ReceivedRequest] = []
    with LocalCloudHsm(on_request=reported.append) as service:
        service.inject(Fault.DROP_BEFORE_WORK)
        service.boto3_client().describe_backups()
        call(service.endpoint_url, "GET", "/_faults")
        send(service, "GET / HTTP/1.1\r\nHost: evil.example")
        send(service, "nonsense")
        assert [(each.operation, each.fault, each.status) for each in reported] == [
            ("DescribeBackups", Fault.DROP_BEFORE_WORK, None),
            ("DescribeBackups", None, 200),
            ("GET /_faults", None, 200),
            ("GET /", None, 403),
            ("malformed", None, 400),
        ]
        assert service.requests == tuple(reported[:2])
        assert all(service.now - each.time < timedelta(seconds=60) for each in reported)


def test_a_callback_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in ``on_request`` is logged, and the response is sent."""

    def fail(_: ReceivedRequest) -> None:
        raise ZeroDivisionError

    with LocalCloudHsm(on_request=fail) as service:
        assert service.boto3_client().describe_backups()["Backups"] == []
        assert call(service.endpoint_url, "GET", "/_faults")[0] == 200
    assert "on_request" in caplog.text


# --- The command ---


@contextmanager
def serving(*options: str, **environment: str) -> Generator[tuple[str, "subprocess.Popen[str]"]]:
    """The command, until the end of the block: its line and its process."""
    clean = {
        name: value for name, value in os.environ.items() if name.startswith(("PATH", "COVERAGE", "HOME"))
    }
    with subprocess.Popen(
        [*SERVE, *options],
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline(), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


def endpoint(line: str) -> str:
    """The endpoint in the line that ``serve`` prints."""
    words = dict(word.split("=", 1) for word in shlex.split(line.removeprefix("export ")))
    return words["AWS_ENDPOINT_URL_CLOUDHSM_V2"]


def ended(process: "subprocess.Popen[str]") -> str:
    """What the command has written to standard error by its end."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)[1]


def test_one_line_for_each_request() -> None:
    """Standard error has time, operation, ID, status and fault of each request, whatever is in it."""
    with serving("--fault", "drop-after-work@RestoreBackup", "--fault", "throttled:2") as (line, process):
        url = endpoint(line)
        with pytest.raises(http.client.RemoteDisconnected):
            target = {"X-Amz-Target": "BaldrApiService.RestoreBackup"}
            call(url, "POST", "/", {"BackupId": "backup-a2b3c4d5e6f"}, target)
        target = {"X-Amz-Target": "BaldrApiService.DescribeBackups"}
        for _ in range(3):
            call(url, "POST", "/", {}, target)
        call(url, "POST", "/", {"Filters": {"backupIds": ["line\nbreak\x1b[31m"]}}, target)
        call(url, "POST", "/_faults", LOST)
        printed = ended(process).splitlines()
    assert [each.partition(" ")[2] for each in printed[1:-2]] == [
        "RestoreBackup backup-a2b3c4d5e6f - drop-after-work",
        "DescribeBackups - 400 throttled",
        "DescribeBackups - 400 throttled",
        "DescribeBackups - 200 -",
        "DescribeBackups line\\nbreak\\x1b[31m 200 -",
        "POST /_faults 200 -",
    ]
    moments = [datetime.fromisoformat(each.partition(" ")[0]) for each in printed[1:-2]]
    assert moments == sorted(moments)


def test_the_example_of_the_readme_runs_against_serve(tmp_path: Path) -> None:
    """Pasted into a file and run with the printed variables, it restores a backup that is there."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    example = tmp_path / "example.py"
    example.write_text(readme.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    with serving() as (line, _):
        variables = dict(each.split("=", 1) for each in shlex.split(line)[1:])
        run = subprocess.run(
            [sys.executable, example], env=os.environ | variables, capture_output=True, text=True, check=True
        )
    assert run.stdout == "backup-c4d5e6f7a2b READY\n"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("slow", "unknown fault 'slow'; expected one of"),
        ("delay@restore_backup", "unknown operation 'restore_backup'; expected one of"),
        ("delay:many", "not of the form NAME[:TIMES][@OPERATION]"),
        ("delay:-1", "not of the form"),
        ("", "not of the form"),
        ("connection-refused", "would end the service"),
    ],
)
def test_invalid_faults(fault: str, message: str) -> None:
    """A fault that cannot be injected is a usage error, before anything is printed on standard output."""
    ran = subprocess.run([*SERVE, "--fault", fault], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in " ".join(ran.stderr.split())


def test_a_full_pipe_delays_no_response() -> None:
    """Responses do not wait until their lines on standard error are read."""
    with serving() as (line, _):
        connection = http.client.HTTPConnection(endpoint(line).removeprefix("http://"), timeout=5)
        for _ in range(2000):
            connection.request("GET", "/_faults")
            assert connection.getresponse().read()
        connection.close()


HOSTILE = {
    "HTTP_PROXY": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "NO_PROXY": "corp.example",
    "AWS_PROFILE": "ghost",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEUSER",
    "AWS_SECRET_ACCESS_KEY": "secret of the user",
    "AWS_SESSION_TOKEN": "",
    "AWS_USE_FIPS_ENDPOINT": "true",
}


@pytest.mark.parametrize("environment", [HOSTILE, {}], ids=["the same shell", "an empty shell"])
def test_the_undo_restores_what_was_there(environment: Mapping[str, str], tmp_path: Path) -> None:
    """The printed line works whatever a shell has set. The undo restores that and has no secret in it."""
    with serving(**HOSTILE) as (line, process):
        command = shlex.join([sys.executable, "-m", "cloudhsm_restore", "list"])
        url = endpoint(line)
        script = f"""
            env | grep -v '^_=' | sort > before
            {line}
            {line}
            env | grep -v '^_=' | sort > between
            {command} > listed || exit 1
            cat > undo  # from standard input
            . ./undo
            env | grep -v '^_=' | sort > after
        """
        with subprocess.Popen(
            ["bash", "-c", script],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            text=True,
        ) as shell:
            while shell.poll() is None and not (tmp_path / "undo").exists():
                pass
            printed = ended(process)
            shell.communicate(printed.splitlines()[-1] + "\n", timeout=60)
        assert shell.returncode == 0
    assert len((tmp_path / "listed").read_text().splitlines()) == 3
    between = (tmp_path / "between").read_text()
    assert f"AWS_ENDPOINT_URL_CLOUDHSM_V2={url}\n" in between
    assert "NO_PROXY=corp.example,127.0.0.1,localhost\n" in between
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()
    assert "of the user" not in line + printed
    assert "OFTHEUSER" not in line + printed


def test_environ_overrides_what_is_there(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program with ``environ`` reaches the service although its environment has a proxy and a profile."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    service.add_backup(backup_state="PENDING_DELETION")
    program = "from cloudhsm_restore import RestoreClient; print(*RestoreClient().describe_backups())"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | service.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PENDING_DELETION" in ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("present", "merged"),
    [
        ({}, ("127.0.0.1,localhost", "127.0.0.1,localhost")),
        ({"NO_PROXY": "a, b"}, ("a,b,127.0.0.1,localhost", "a,b,127.0.0.1,localhost")),
        ({"NO_PROXY": "a", "no_proxy": "localhost"}, ("a,127.0.0.1,localhost", "localhost,127.0.0.1")),
        ({"no_proxy": "*"}, ("*", "*")),
        ({"NO_PROXY": "a", "no_proxy": ""}, ("a,127.0.0.1,localhost", "127.0.0.1,localhost")),
    ],
)
def test_no_proxy_is_merged(
    service: LocalCloudHsm,
    present: Mapping[str, str],
    merged: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hosts that are there stay, in both spellings of the variable."""
    for name, value in present.items():
        monkeypatch.setenv(name, value)
    assert (service.environ["NO_PROXY"], service.environ["no_proxy"]) == merged


def test_environ_is_short_where_nothing_is_there(service: LocalCloudHsm) -> None:
    """Without a profile or a session token in the environment there is nothing to override."""
    assert set(service.environ) == {
        "AWS_ENDPOINT_URL_CLOUDHSM_V2",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "NO_PROXY",
        "no_proxy",
    }
