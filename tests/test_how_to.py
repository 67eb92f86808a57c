"""Promises of the pages that running their blocks one by one does not show."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor  # pyright: ignore[reportMissingTypeStubs]
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloudhsm_restore import (
    AccessDeniedError,
    BackupState,
    ConnectError,
    InvalidRequestError,
    RestoreClient,
    RestoreError,
    __version__,
)
from cloudhsm_restore.testing import Fault, LocalCloudHsm

_DOCS: Final = Path(__file__).parent.parent / "docs"


def _page(page: str) -> str:
    return (_DOCS / page).read_text(encoding="utf-8")


def _blocks(page: str, language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", _page(page), re.DOTALL | re.MULTILINE)
    assert blocks
    return blocks


def _operations(service: LocalCloudHsm) -> list[str]:
    return [request.operation for request in service.requests]


# --- The runbook ---


def test_the_runbook_is_one_click_from_the_first_page() -> None:
    """In an incident: the landing page and the README link to the runbook before they show any code."""
    assert "](how-to/restore-a-backup.md)" in _page("index.md").partition("```")[0]
    assert "](docs/how-to/restore-a-backup.md)" in "\n".join(_page("../README.md").splitlines()[:30])


def test_the_runbook_starts_with_commands() -> None:
    """Nothing but one sentence of two lines stands before the line that installs and the three commands."""
    start = _page("how-to/restore-a-backup.md").splitlines()[:22]
    commands = [line for line in start if line.startswith(("$ ", "cloudhsm-restore "))]
    assert [line.split()[1] for line in commands] == ["pip", "list", "restore", "show"]


MESSAGES: dict[str, tuple[str, str, str, str]] = {
    # the quoted message: the state of the backup, the fault and its operation, and more of the command
    "restored but not exempt from retention": (
        "PENDING_DELETION", "access-denied", "ModifyBackupAttributes", "--never-expires",
    ),
    "AccessDenied": ("PENDING_DELETION", "access-denied", "RestoreBackup", ""),
    "CloudHsmResourceNotFoundException": ("", "", "", ""),
    "its state is DELETED": ("DELETED", "", "", ""),
    "not READY after": ("CREATE_IN_PROGRESS", "", "", "--timeout 0"),
    "does not look like one from CloudHSM": ("PENDING_DELETION", "captive-portal", "", "--timeout 0"),
    "UnexpectedResponseError": ("PENDING_DELETION", "captive-portal", "", "--timeout 0"),
    "Could not connect": ("PENDING_DELETION", "connection-refused", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("quoted", MESSAGES)
def test_the_command_prints_the_messages_that_the_runbook_explains(
    quoted: str, service: LocalCloudHsm
) -> None:
    """A search for a message of the command finds it in the runbook."""
    state, fault, operation, options = MESSAGES[quoted]
    backup_id = (
        service.add_backup(backup_state=BackupState(state)).backup_id if state else "backup-7777777zzzz"
    )
    if fault == "connection-refused":
        service.refuse()
    elif fault:
        service.inject(fault, operation=operation or None, times=1 if operation else 9)
    command = [sys.executable, "-m", "cloudhsm_restore", "restore", backup_id, *options.split()]
    run = subprocess.run(
        command, env=os.environ | service.environ, capture_output=True, text=True, check=False
    )
    assert run.returncode in ([3] if fault == "captive-portal" else [0, 1])
    assert quoted in run.stderr


def test_every_message_of_the_runbook_is_tested() -> None:
    """The list of messages has no term that the test above leaves out."""
    section = _page("how-to/restore-a-backup.md").partition("### Messages")[2].partition("\n### ")[0]
    terms = re.findall(r"^(`.+)\n: ", section, re.MULTILINE)
    assert sorted(each for term in terms for each in re.findall(r"`([^`]+)`", term)) == sorted(MESSAGES)


# --- Permissions ---


def test_the_policies_name_actions_that_cloudhsm_has() -> None:
    """A policy with an action that does not exist is accepted by IAM and allows nothing."""
    operations = botocore.session.Session().get_service_model("cloudhsmv2").operation_names
    actions: set[str] = set()
    for block in _blocks("how-to/iam-policy.md", "json"):
        for statement in json.loads(block).get("Statement", []):
            action = statement["Action"]
            actions.update([action] if isinstance(action, str) else action)
    assert actions == {
        f"cloudhsm:{operation}"
        for operation in ("DeleteBackup", "DescribeBackups", "ModifyBackupAttributes", "RestoreBackup")
    }
    assert {action.removeprefix("cloudhsm:") for action in actions} <= set(operations)


RESTORE, DESCRIBE, EXEMPT = "RestoreBackup", "DescribeBackups", "ModifyBackupAttributes"
LOST: Final = Fault.DROP_AFTER_WORK

CALLS: Final[dict[str, tuple[Callable[[RestoreClient, str], object], Fault | None, set[str]]]] = {
    "restore_backup": (lambda client, id_: client.restore_backup(id_), None, {RESTORE}),
    "get_backup": (lambda client, id_: client.get_backup(id_), None, {DESCRIBE}),
    "describe_backups": (lambda client, _: list(client.describe_backups()), None, {DESCRIBE}),
    "ensure_restored": (lambda client, id_: client.ensure_restored(id_), None, {RESTORE}),
    "a lost response": (lambda client, id_: client.ensure_restored(id_), LOST, {RESTORE, DESCRIBE}),
    "restore_backups": (lambda client, id_: list(client.restore_backups([id_])), None, {RESTORE}),
    "never_expires": (
        lambda client, id_: client.ensure_restored(id_, never_expires=True), None, {RESTORE, EXEMPT},
    ),
    "never_expires as it is": (
        lambda client, id_: client.ensure_restored(id_, never_expires=False), None, {RESTORE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_each_method_calls_only_the_operations_in_the_table_of_permissions(
    call: str, service: LocalCloudHsm
) -> None:
    """A policy that allows the operations of `reference/permissions.md` is enough."""
    method, fault, expected = CALLS[call]
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    if fault is not None:
        service.inject(fault, operation=RESTORE)
    method(service.client(), backup_id)
    assert set(_operations(service)) == expected


# --- Keep a restored backup ---


def test_the_retention_policy_can_delete_between_the_two_calls(service: LocalCloudHsm) -> None:
    """A backup that is deleted again just before its exemption is restored and exempted again."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    service.inject(Fault.DELETED_MEANWHILE, operation=EXEMPT)
    backup = service.client().ensure_restored(backup_id, never_expires=True)
    assert backup.never_expires is True
    assert _operations(service) == [RESTORE, EXEMPT, DESCRIBE, RESTORE, EXEMPT]


# --- AWS Lambda ---


@pytest.mark.parametrize("lost", [RESTORE, EXEMPT])
def test_after_the_timeout_only_the_last_attempt_is_resolved(service: LocalCloudHsm, lost: str) -> None:
    """The reserve of the page on AWS Lambda is enough: one call in flight, and one DescribeBackups."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    service.inject(LOST, operation=lost)
    service.inject(Fault.INTERNAL_FAILURE_BEFORE_WORK, operation=DESCRIBE)
    one_attempt = Config(retries={"total_max_attempts": 1})
    with pytest.raises(RestoreError):
        service.client(one_attempt).ensure_restored(backup_id, never_expires=True, timeout=0)
    assert _operations(service)[-2:] in ([RESTORE, DESCRIBE], [RESTORE])
    page = " ".join(_page("how-to/aws-lambda.md").split())
    [settings] = re.findall(r"Config\(connect_timeout=(\d+), read_timeout=(\d+), .*?attempts\": (\d+)", page)
    connect, read, attempts = map(int, settings)
    call = attempts * (connect + read) + 6  # and the pauses between the attempts
    assert f"{call} s." in page
    [reserve] = re.findall(r"RESERVE = (\d+)", page)
    assert 2 * call < int(reserve)


# --- Move from boto3 ---


def test_boto3s_exception_is_the_cause_and_not_the_class(service: LocalCloudHsm) -> None:
    """The clauses that the page replaces would not match any more."""
    backup_id = service.add_backup().backup_id
    boto3_client = service.boto3_client()
    with pytest.raises(InvalidRequestError) as raised:
        RestoreClient(boto3_client).restore_backup(backup_id)
    copy = pickle.loads(pickle.dumps(raised.value))
    of_boto3 = boto3_client.exceptions.CloudHsmInvalidRequestException
    assert not isinstance(copy, of_boto3)
    assert isinstance(raised.value.__cause__, of_boto3)
    assert copy.code == raised.value.code


def test_a_failure_to_connect_is_pythons_connection_error(service: LocalCloudHsm) -> None:
    """botocore's exception is the cause."""
    client = service.client()
    service.refuse()
    with pytest.raises(ConnectionError) as raised:
        client.restore_backup("backup-a2b3c4d5e6f")
    assert isinstance(raised.value, ConnectError)
    assert isinstance(raised.value.__cause__, EndpointConnectionError)


# --- Configuration ---


def test_the_endpoints_are_botocores() -> None:
    """The table of endpoints is what botocore builds, and its list of regions is as the page says."""
    for region, endpoint in re.findall(
        r"^\| `([\w-]+)`(?:, .*)? \| `(https://.*)` \|$", _page("reference/configuration.md"), re.MULTILINE
    ):
        fips = "fips" in endpoint or None
        config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=fips)
        client = boto3.client("cloudhsmv2", region_name=region, config=config)
        assert client.meta.endpoint_url == endpoint
        client.close()
    session = boto3.Session()
    assert session.get_available_regions("cloudhsmv2", "aws-us-gov") == ["us-gov-east-1", "us-gov-west-1"]
    assert session.get_available_regions("cloudhsmv2", "aws-cn") == []


def test_the_user_agent_ends_with_the_library(
    service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text of the user's `Config` goes in front of it."""
    for name, value in service.environ.items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()
    sent: list[str] = []

    def note(request: Any, **_: object) -> None:
        sent.append(request.headers["User-Agent"].decode())

    session.events.register("before-send.cloudhsm-v2", note)
    with RestoreClient(session=session, config=Config(user_agent_extra="incident-4711")) as client:
        client.get_backup(service.add_backup().backup_id)
    assert sent[0].startswith(f"Boto3/{boto3.__version__} ")
    assert sent[0].endswith(f" incident-4711 cloudhsm-restore/{__version__}")


# --- OpenTelemetry ---


def test_the_spans_of_restore_backups_are_children_of_the_current_span(service: LocalCloudHsm) -> None:
    """The threads run with the context of the caller, in which OpenTelemetry keeps the current span."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    backup_ids = [service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(3)]
    instrumentor: Any = BotocoreInstrumentor  # OpenTelemetry does not type it.
    instrumentor().instrument(tracer_provider=provider)
    try:
        with provider.get_tracer("test").start_as_current_span("batch") as batch:
            assert all(result.ok for result in service.client().restore_backups(backup_ids))
    finally:
        instrumentor().uninstrument()
    parents = {span.parent and span.parent.span_id for span in spans.get_finished_spans()[:-1]}
    assert parents == {batch.get_span_context().span_id}


# --- If access is denied ---


def test_a_denied_describe_leaves_the_outcome_unknown(service: LocalCloudHsm) -> None:
    """The page on permissions says what happens without DescribeBackups."""
    backup_id = service.add_backup(backup_state="PENDING_DELETION").backup_id
    service.inject(LOST, operation=RESTORE)
    service.inject(Fault.ACCESS_DENIED, operation=DESCRIBE)
    with pytest.raises(AccessDeniedError) as raised:
        service.client().ensure_restored(backup_id)
    assert raised.value.operation == DESCRIBE
    assert raised.value.outcome_unknown
