"""LocalCloudHsm with other clients: boto3, the AWS CLI, and sockets."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, EndpointConnectionError
from botocore.validate import validate_parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

from cloudhsm_restore import Backup, BackupState, Tag
from cloudhsm_restore.testing import Fault, LocalCloudHsm, ReceivedRequest

AWS_CLI = os.environ.get("AWS_CLI")


@pytest.fixture
def boto3_client(service: LocalCloudHsm) -> Any:
    """A plain boto3 client."""
    client = service.boto3_client()
    yield client
    client.close()


def test_the_story_of_a_backup(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """boto3 deletes, describes, restores, and exempts a backup, as in AWS."""
    made = service.add_backup(tag_list=[Tag(key="team", value="payments")])
    backup_id = made.backup_id

    deleted = boto3_client.delete_backup(BackupId=backup_id)["Backup"]
    assert deleted.get("BackupState") == "PENDING_DELETION"
    left = deleted.get("DeleteTimestamp", datetime.min.replace(tzinfo=UTC)) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    with pytest.raises(boto3_client.exceptions.CloudHsmInvalidRequestException):
        boto3_client.delete_backup(BackupId=backup_id)
    with pytest.raises(boto3_client.exceptions.CloudHsmInvalidRequestException):
        boto3_client.modify_backup_attributes(BackupId=backup_id, NeverExpires=True)

    response = boto3_client.restore_backup(BackupId=backup_id)
    assert response["Backup"].get("BackupState") == "READY"
    assert "DeleteTimestamp" not in response["Backup"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert len(response["ResponseMetadata"]["RequestId"]) == 36
    with pytest.raises(boto3_client.exceptions.CloudHsmInvalidRequestException) as rejected:
        boto3_client.restore_backup(BackupId=backup_id)
    response_to_it: Any = rejected.value.response
    assert response_to_it["ResponseMetadata"]["HTTPStatusCode"] == 400

    exempt = boto3_client.modify_backup_attributes(BackupId=backup_id, NeverExpires=True)["Backup"]
    assert exempt.get("NeverExpires") is True
    with pytest.raises(boto3_client.exceptions.CloudHsmResourceNotFoundException):
        boto3_client.restore_backup(BackupId="backup-nowhere")

    assert (
        Backup.model_validate(exempt)
        == service.backups[backup_id]
        == made.model_copy(update={"never_expires": True})
    )
    assert [request.operation for request in service.requests].count("RestoreBackup") == 3
    assert [request.done for request in service.requests if request.operation == "DeleteBackup"] == [
        True,
        False,
    ]


def test_responses_fit_the_service_model(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """Responses have only members of the service model, in their types."""
    service.add_backup(backup_state="PENDING_DELETION", tag_list=[{"Key": "a", "Value": "b"}])
    response: Any = dict(boto3_client.describe_backups())
    del response["ResponseMetadata"]
    output = boto3_client.meta.service_model.operation_model("DescribeBackups").output_shape
    assert output is not None
    validate_parameters(response, output)


def test_seven_days(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """A deleted backup is permanently deleted after 7 days, on a clock that a test moves."""
    backup_id = service.add_backup().backup_id
    boto3_client.delete_backup(BackupId=backup_id)
    service.advance(timedelta(days=6, hours=23))
    assert service.backups[backup_id].backup_state is BackupState.PENDING_DELETION
    assert service.now - datetime.now(UTC) > timedelta(days=6)
    service.advance(timedelta(hours=2))
    with pytest.raises(boto3_client.exceptions.CloudHsmInvalidRequestException):
        boto3_client.restore_backup(BackupId=backup_id)
    assert service.backups[backup_id].backup_state is BackupState.DELETED


def test_describing_in_pages(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """boto3's paginator finds every backup once, newest or oldest first."""
    made = [
        service.add_backup(
            create_timestamp=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
        ).backup_id
        for minute in range(23)
    ]

    def described(**options: Any) -> list[str]:
        pages = boto3_client.get_paginator("describe_backups").paginate(
            PaginationConfig={"PageSize": 5}, **options
        )
        return [backup["BackupId"] for page in pages for backup in page["Backups"]]

    assert described(SortAscending=True) == made
    assert described() == made[::-1]
    assert described(Shared=True) == []


@pytest.mark.parametrize("ascending", [True, False])
def test_pages_of_a_list_that_changes(
    service: LocalCloudHsm, boto3_client: CloudHSMV2Client, ascending: bool
) -> None:
    """A page continues where the last one ended, although the backup at its end has left the list."""
    made = {service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(5)}
    pages = boto3_client.get_paginator("describe_backups").paginate(
        Filters={"states": ["PENDING_DELETION"]},
        SortAscending=ascending,
        PaginationConfig={"PageSize": 2},
    )
    for page in pages:
        for backup in page["Backups"]:
            boto3_client.restore_backup(BackupId=backup["BackupId"])
            made.remove(backup["BackupId"])
    assert not made


@pytest.mark.parametrize(
    "parameters",
    [
        {"MaxResults": 51},
        {"MaxResults": 0},
        {"MaxResults": "many"},
        {"NextToken": "nowhere"},
        {"NextToken": "MQ=="},
        {"NextToken": "é"},
        {"Filters": {"color": ["red"]}},
        {"Filters": []},
        {"Filters": {"states": "READY"}},
    ],
)
def test_invalid_parameters_of_describe_backups(service: LocalCloudHsm, parameters: dict[str, Any]) -> None:
    """Invalid parameters of DescribeBackups are a CloudHsmInvalidRequestException."""
    status, response = send(service, "DescribeBackups", parameters)
    assert (status, response["__type"]) == (400, "CloudHsmInvalidRequestException")


def test_one_state_per_call(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """Like the live service, it honors only one of several states."""
    for state in ("READY", "PENDING_DELETION"):
        service.add_backup(backup_state=state)
    found = boto3_client.describe_backups(Filters={"states": ["PENDING_DELETION", "READY"]})["Backups"]
    assert [backup.get("BackupState") for backup in found] == ["PENDING_DELETION"]


@pytest.mark.skipif(AWS_CLI is None, reason="make test installs the AWS CLI and says where it is")
def test_the_aws_cli(service: LocalCloudHsm, tmp_path: Any) -> None:
    """The AWS CLI lists and restores a backup."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id

    def aws(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(AWS_CLI), "cloudhsmv2", *arguments, "--output", "json"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **service.environ},
            capture_output=True,
            text=True,
            check=False,
        )

    listed = json.loads(aws("describe-backups", "--filters", "states=PENDING_DELETION").stdout)
    assert [backup["BackupId"] for backup in listed["Backups"]] == [backup_id]
    restored = json.loads(aws("restore-backup", "--backup-id", backup_id).stdout)
    assert restored["Backup"]["BackupState"] == "READY"
    again = aws("restore-backup", "--backup-id", backup_id)
    assert again.returncode != 0
    assert "CloudHsmInvalidRequestException" in again.stderr
    assert service.backups[backup_id].backup_state is BackupState.READY


# --- Bare requests ---


def send(service: LocalCloudHsm, operation: str, body: Any) -> tuple[int, Any]:
    """Send one request without any SDK; return the status and the JSON of the response."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(service.endpoint_url.rpartition(":")[2]), timeout=5
    )
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", "/", content, {"X-Amz-Target": f"BaldrApiService.{operation}"})
    response = connection.getresponse()
    content = json.loads(response.read())
    assert response.headers["x-amzn-RequestId"]
    connection.close()
    return response.status, content


def test_timestamps_are_epoch_seconds(service: LocalCloudHsm) -> None:
    """On the wire a timestamp is a number of seconds since 1970, with fractions."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    service.add_backup(create_timestamp=moment)
    _, response = send(service, "DescribeBackups", {})
    assert response["Backups"][0]["CreateTimestamp"] == moment.timestamp()


@pytest.mark.parametrize(
    ("operation", "body", "code"),
    [
        ("CreateCluster", {}, "UnknownOperationException"),
        ("", {}, "UnknownOperationException"),
        ("RestoreBackup", {}, "CloudHsmInvalidRequestException"),
        ("RestoreBackup", {"BackupId": 5}, "CloudHsmInvalidRequestException"),
        ("RestoreBackup", {"BackupId": []}, "CloudHsmInvalidRequestException"),
        ("RestoreBackup", {"BackupId": "backup-x"}, "CloudHsmResourceNotFoundException"),
        ("ModifyBackupAttributes", {"BackupId": "backup-x"}, "CloudHsmInvalidRequestException"),
        ("RestoreBackup", b"", "CloudHsmInvalidRequestException"),
        ("RestoreBackup", b"{", "SerializationException"),
        ("RestoreBackup", b"[]", "SerializationException"),
        ("RestoreBackup", b"\xff\xfe", "SerializationException"),
        ("RestoreBackup", b"[" * 100_000, "SerializationException"),
    ],
)
def test_malformed_requests(service: LocalCloudHsm, operation: str, body: Any, code: str) -> None:
    """A malformed request gets an error response in AWS's format."""
    status, response = send(service, operation, body)
    assert (status, response["__type"]) == (400, code)
    assert response["Message"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
)
def test_malformed_http(service: LocalCloudHsm, request_bytes: bytes) -> None:
    """Malformed HTTP gets an error and never a 200, and the service continues."""
    with socket.create_connection(
        ("127.0.0.1", int(service.endpoint_url.rpartition(":")[2])), timeout=5
    ) as raw:
        raw.sendall(request_bytes)
        raw.shutdown(socket.SHUT_WR)
        response = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b" 200 " not in response.split(b"\r\n")[0]
    assert b"__type" in response
    assert send(service, "DescribeBackups", {})[0] == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    operation=st.sampled_from(["RestoreBackup", "DescribeBackups", "DeleteBackup", "ModifyBackupAttributes"]),
    body=st.dictionaries(
        st.sampled_from(["BackupId", "Filters", "NextToken", "MaxResults", "NeverExpires", "Shared"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["backupIds", "states", "x"]), inner, max_size=2)
            ),
            max_leaves=4,
        ),
    ),
)
def test_no_request_makes_the_service_fail(service: LocalCloudHsm, operation: str, body: Any) -> None:
    """Any JSON gets a 200 or a 400."""
    assert send(service, operation, body)[0] in (200, 400)


# --- Faults ---


def test_faults_are_used_up_in_order(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """Each request gets the first fault for its operation, and each fault its number of requests."""
    service.inject(Fault.ACCESS_DENIED, operation="RestoreBackup", times=2)
    service.inject("expired-credentials")
    with pytest.raises(ClientError, match="ExpiredToken"):
        boto3_client.describe_backups()
    boto3_client.describe_backups()
    for _ in range(2):
        with pytest.raises(ClientError, match="AccessDenied"):
            boto3_client.restore_backup(BackupId="backup-x")
    with pytest.raises(boto3_client.exceptions.CloudHsmResourceNotFoundException):
        boto3_client.restore_backup(BackupId="backup-x")
    assert [request.fault for request in service.requests] == [
        Fault.EXPIRED_CREDENTIALS, None, Fault.ACCESS_DENIED, Fault.ACCESS_DENIED, None,
    ]  # fmt: skip


def test_requests_record_the_effect(service: LocalCloudHsm) -> None:
    """``requests`` separates what the service did from how it responded."""
    client = service.boto3_client(Config(retries={"total_max_attempts": 1}))
    first, second = (service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(2))
    service.inject(Fault.DROP_BEFORE_WORK)
    service.inject(Fault.DROP_AFTER_WORK)
    for backup_id in (first, second):
        with pytest.raises(ConnectionClosedError):
            client.restore_backup(BackupId=backup_id)
    assert service.requests == (
        ReceivedRequest("RestoreBackup", first, Fault.DROP_BEFORE_WORK, done=False),
        ReceivedRequest("RestoreBackup", second, Fault.DROP_AFTER_WORK, done=True),
    )
    client.close()


def received(service: LocalCloudHsm, requests: int) -> bytes:
    """Send requests on one connection, each once something has come back, and return all that comes back."""
    port = int(service.endpoint_url.rpartition(":")[2])
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Amz-Target: BaldrApiService.DescribeBackups\r\n"
    chunks: list[bytes] = []
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    with connection, contextlib.suppress(OSError):  # The service may have closed it.
        for _ in range(requests):
            connection.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
            chunks.append(connection.recv(65536))
        connection.shutdown(socket.SHUT_WR)
        while chunks[-1]:
            chunks.append(connection.recv(65536))
    return b"".join(chunks)


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        (Fault.INTERIM_RESPONSE, ["103", "200", "200"]),
        (Fault.DUPLICATE_RESPONSE, ["200", "200", "200"]),
        (Fault.CLOSE_AFTER_RESPONSE, ["200"]),
        (Fault.CLOSE_ON_NEXT_REQUEST, ["200"]),
        (Fault.REDIRECT_BEFORE_WORK, ["307", "200"]),
        (Fault.REDIRECT_WITHOUT_LOCATION, ["302", "200"]),
        (Fault.FORBIDDEN_HTML, ["403", "200"]),
        (Fault.REQUEST_TIMEOUT_EMPTY, ["408", "200"]),
    ],
)
def test_two_requests_on_one_connection(service: LocalCloudHsm, fault: Fault, statuses: list[str]) -> None:
    """The connection has these responses if the first request has the fault."""
    service.inject(fault)
    responses = received(service, 2).decode()
    assert re.findall(r"HTTP/1.1 (\d+)", responses) == statuses
    assert ("Location: /" in responses) is (fault is Fault.REDIRECT_BEFORE_WORK)
    assert "Connection: close" not in responses
    is_closed = fault in (Fault.CLOSE_AFTER_RESPONSE, Fault.CLOSE_ON_NEXT_REQUEST)
    assert len(service.requests) == (1 if is_closed else 2)


def test_a_redirect_leads_to_the_service(service: LocalCloudHsm) -> None:
    """A client that follows the redirect gets the response there."""
    backup = service.add_backup(backup_state="PENDING_DELETION")
    service.inject(Fault.REDIRECT_BEFORE_WORK)
    port = int(service.endpoint_url.rpartition(":")[2])
    headers = {"X-Amz-Target": "BaldrApiService.RestoreBackup"}
    body = json.dumps({"BackupId": backup.backup_id})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/", body, headers)
    redirect = connection.getresponse()
    redirect.read()
    connection.request("POST", redirect.headers["Location"], body, headers)
    assert json.load(connection.getresponse())["Backup"]["BackupState"] == "READY"
    connection.close()


def test_random_faults_have_a_seed(service: LocalCloudHsm) -> None:
    """The same seed injects the same faults, until they are cleared."""

    def drawn(seed: int) -> list[Fault | None]:
        service.inject_randomly(seed, 0.5, [Fault.THROTTLED, Fault.ACCESS_DENIED])
        for _ in range(40):
            send(service, "DescribeBackups", {})
        return [request.fault for request in service.requests[-40:]]

    first = drawn(1)
    assert set(first) == {None, Fault.THROTTLED, Fault.ACCESS_DENIED}
    assert drawn(1) == first
    assert drawn(2) != first
    service.clear_faults()
    send(service, "DescribeBackups", {})
    assert service.requests[-1].fault is None


def test_connection_refused_cannot_be_random(service: LocalCloudHsm) -> None:
    """CONNECTION_REFUSED ends the service, so it cannot be injected at random."""
    with pytest.raises(ValueError, match="at random"):
        service.inject_randomly(1, faults=[Fault.CONNECTION_REFUSED])


def test_connection_refused_and_listen(service: LocalCloudHsm, boto3_client: CloudHSMV2Client) -> None:
    """CONNECTION_REFUSED stops listening until ``listen``; the port and the backups stay."""
    backup = service.add_backup()
    url = service.endpoint_url
    service.inject(Fault.CONNECTION_REFUSED)
    client = service.boto3_client(Config(retries={"total_max_attempts": 1}))
    with pytest.raises(EndpointConnectionError):
        client.describe_backups()
    service.clear_faults()
    assert service.endpoint_url == url
    assert boto3_client.describe_backups()["Backups"][0]["BackupId"] == backup.backup_id
    client.close()


def test_nothing_is_left_behind() -> None:
    """After close no thread is left, and the port is free."""
    before = set(threading.enumerate())
    service = LocalCloudHsm()
    client = service.boto3_client()
    client.describe_backups()
    service.inject(Fault.DELAY, seconds=60)

    def call_late() -> None:
        with contextlib.suppress(BotoCoreError):
            client.describe_backups()

    late = threading.Thread(target=call_late)
    late.start()
    while not service.requests[1:]:
        pass
    service.close()
    late.join()
    client.close()
    assert set(threading.enumerate()) == before
    with socket.create_server(("127.0.0.1", int(service.endpoint_url.rpartition(":")[2]))):
        pass


def test_it_listens_on_loopback_only(service: LocalCloudHsm) -> None:
    """Its socket is bound to 127.0.0.1."""
    assert service._server is not None
    assert service._server.socket.getsockname()[0] == "127.0.0.1"


# --- What it holds ---


def test_new_backups(service: LocalCloudHsm) -> None:
    """A new backup is READY and has the fields of every backup in AWS; arguments override them."""
    backup = service.add_backup()
    assert backup.backup_id.startswith("backup-")
    assert len(backup.backup_id) == 18
    assert backup.backup_arn == f"arn:aws:cloudhsm:us-east-1:111122223333:backup/{backup.backup_id}"
    assert backup.backup_state is BackupState.READY
    assert backup.cluster_id
    assert backup.create_timestamp
    assert backup.time_left() is None
    deleted = service.add_backup(backup_state="PENDING_DELETION", mode=None)
    assert deleted.mode is None
    left = deleted.time_left(service.now)
    assert left is not None
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


MISUSES: list[Callable[[Any], Any]] = [
    lambda service: service.add_backup(color="red"),
    lambda service: service.add_backup(backup_id="backup-1") and service.add_backup(backup_id="backup-1"),
    lambda service: service.inject("no such fault"),
    lambda service: service.inject(Fault.THROTTLED, "restore_backup"),
    lambda service: service.change_backup("backup-nowhere"),
    lambda service: service.remove_backup("backup-nowhere"),
]


@pytest.mark.parametrize("wrong", MISUSES)
def test_misuse_in_a_test(service: LocalCloudHsm, wrong: Callable[[Any], Any]) -> None:
    """A mistake in a test is an exception."""
    with pytest.raises((TypeError, ValueError, KeyError)):
        wrong(service)


def test_removed_backups(service: LocalCloudHsm) -> None:
    """A removed backup is as if it had never been."""
    backup = service.add_backup()
    service.remove_backup(backup.backup_id)
    assert dict(service.backups) == {}
