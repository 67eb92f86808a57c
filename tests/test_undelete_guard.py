"""The undelete guard in `examples`: its function on the local service, and its template beside it."""

import copy
import fnmatch
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import botocore.session
import pytest
import yaml
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from packaging.requirements import Requirement

from cloudhsm_restore import AccessDeniedError, BackupState, NotRestorableError, RestoreError, __version__
from cloudhsm_restore.testing import Fault, LocalCloudHsm

FOLDER: Final = Path(__file__).parent.parent / "examples" / "undelete_guard"
EVENT: Final[dict[str, Any]] = json.loads((FOLDER / "event.json").read_text(encoding="utf-8"))
BACKUP_ID: Final[str] = EVENT["detail"]["requestParameters"]["backupId"]
PAGE: Final = (FOLDER.parent.parent / "docs" / "how-to" / "undelete-guard.md").read_text(encoding="utf-8")
TOPIC: Final = "arn:aws:sns:us-east-1:111122223333:guard-Topic"
MEANT: Final = [{"Key": "deletion-is-meant", "Value": "yes"}]


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms: ``!Ref X`` is read as ``{"Ref": "X"}``."""


def _short_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.ScalarNode)
    return {name: loader.construct_scalar(node)}


_Loader.add_multi_constructor("!", _short_form)  # pyright: ignore[reportUnknownMemberType]  (half typed)
TEMPLATE: Final[dict[str, Any]] = yaml.load((FOLDER / "template.yaml").read_text(encoding="utf-8"), _Loader)
RESOURCES: Final[dict[str, Any]] = TEMPLATE["Resources"]
GUARD: Final[dict[str, Any]] = RESOURCES["Guard"]["Properties"]
RULE: Final[dict[str, Any]] = GUARD["Events"]["BackupDeleted"]["Properties"]
DEAD_LETTERS: Final = {"GetAtt": "DeadLetters.Arn"}


class Guard:
    """The function as Lambda has it: imported with the template's variables, and the local service."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.messages: list[dict[str, str]] = []
        self.stubber = Stubber(module.sns)
        module.sns.meta.events.register("provide-client-params.sns.Publish", self._publish)

    def _publish(self, params: dict[str, str], **_: object) -> None:
        self.messages.append(params)

    def __call__(self, event: object = EVENT) -> None:
        self.stubber.add_response("publish", {}, {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY})
        with self.stubber:
            self.module.handle(event, None)

    @property
    def told(self) -> str:
        """Subject and text of the one message that was sent."""
        [message] = self.messages
        return message["Subject"] + "\n" + message["Message"]


@pytest.fixture
def guard(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """The guard, and a backup that has just been deleted."""
    service.add_backup(backup_id=BACKUP_ID, backup_state="PENDING_DELETION")
    given = {"Topic": TOPIC} | {name: each["Default"] for name, each in TEMPLATE["Parameters"].items()}
    variables = {name: given[value["Ref"]] for name, value in GUARD["Environment"]["Variables"].items()}
    for name, value in (service.environ | variables).items():
        monkeypatch.setenv(name, value)
    file, _ = GUARD["Handler"].split(".")
    name = f"examples.undelete_guard.{GUARD['CodeUri'].strip('/')}.{file}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    yield Guard(module)
    module.hsm.close()
    module.sns.close()


def _with(fields: dict[str, object], **detail: object) -> dict[str, Any]:
    return EVENT | fields | {"detail": EVENT["detail"] | detail}


def _operations(service: LocalCloudHsm) -> list[str]:
    return [operation for operation, _ in groupby(request.operation for request in service.requests)]


# --- The function ---


def test_a_deleted_backup_is_ready_again_and_the_message_says_who_deleted_it(
    guard: Guard, service: LocalCloudHsm
) -> None:
    """A deletion that no tag allows is undone, and the topic learns of which backup, and by whom."""
    guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    assert guard.told.startswith(f"{BACKUP_ID}: READY\n")
    assert "assumed-role/Cleanup/nightly" in guard.told
    assert "in account 111122223333, us-east-1: READY" in guard.told


def test_a_backup_with_the_tag_stays_deleted(guard: Guard, service: LocalCloudHsm) -> None:
    """With the tag RestoreBackup is not called, and the message says how long the way back is open."""
    service.change_backup(BACKUP_ID, tag_list=MEANT)
    guard()
    assert _operations(service) == ["DescribeBackups"]
    assert guard.told.startswith(f"{BACKUP_ID}: left deleted\n")
    assert f"(6 d 23 h): cloudhsm-restore restore --region us-east-1 {BACKUP_ID}" in guard.told


def test_another_value_of_the_tag_does_not_allow_the_deletion(guard: Guard, service: LocalCloudHsm) -> None:
    """Only key and value together say that a deletion is meant."""
    service.change_backup(BACKUP_ID, tag_list=[{"Key": "deletion-is-meant", "Value": "no"}])
    guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY


def test_an_event_may_come_twice(guard: Guard, service: LocalCloudHsm) -> None:
    """EventBridge and Lambda deliver at least once: a second delivery finds the backup READY."""
    guard()
    guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    assert [message["Subject"] for message in guard.messages] == [f"{BACKUP_ID}: READY"] * 2


def test_a_lost_answer_is_no_failure(guard: Guard, service: LocalCloudHsm) -> None:
    """Where the answer to RestoreBackup is lost, DescribeBackups settles whether it worked."""
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    guard()
    assert guard.told.startswith(f"{BACKUP_ID}: READY\n")


def test_a_restore_that_is_refused_is_told_and_raised(guard: Guard, service: LocalCloudHsm) -> None:
    """A failure reaches the topic, with what to do and by when, and Lambda, which tries again."""
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    with pytest.raises(AccessDeniedError):
        guard()
    assert guard.told.startswith(f"{BACKUP_ID}: NOT restored by this try\n")
    assert "Allow cloudhsm:RestoreBackup" in guard.told
    assert f"(6 d 23 h): cloudhsm-restore restore --region us-east-1 {BACKUP_ID}" in guard.told


def test_a_doubt_that_stays_is_told_as_a_doubt(guard: Guard, service: LocalCloudHsm) -> None:
    """Where nobody can know whether the backup is restored, the message does not say that it is not."""
    service.inject(Fault.STALE, "DescribeBackups")  # the look at the tags
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups")
    with pytest.raises(AccessDeniedError) as raised:
        guard()
    assert raised.value.outcome_unknown
    assert guard.told.startswith(f"{BACKUP_ID}: may be restored or not\n")


def test_a_backup_that_is_gone_for_good_is_told(guard: Guard, service: LocalCloudHsm) -> None:
    """After the 7 days the message says that they are over, and offers no command that cannot work."""
    service.advance(timedelta(days=8))
    gone = datetime.now(UTC) - timedelta(days=1)
    service.change_backup(BACKUP_ID, delete_timestamp=gone)
    with pytest.raises(NotRestorableError):
        guard()
    assert f"Its 7 days were over at {gone:%Y-%m-%d %H:%M} UTC." in guard.told
    assert "cloudhsm-restore restore" not in guard.told


def test_without_a_look_at_the_tags_nothing_is_restored(guard: Guard, service: LocalCloudHsm) -> None:
    """Where DescribeBackups is refused, nobody knows what is meant: that is told and raised, and no more."""
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups")
    with pytest.raises(AccessDeniedError):
        guard(_with({}, eventTime=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"))
    assert _operations(service) == ["DescribeBackups"]
    assert "(6 d 23 h)" in guard.told  # from the time of the event


def test_a_message_that_cannot_be_sent_is_a_failure(guard: Guard, service: LocalCloudHsm) -> None:
    """Lambda tries again until the topic has the message, although the backup has been restored at once."""
    guard.stubber.add_client_error("publish", "InternalError", http_status_code=500)
    with pytest.raises(ClientError, match="InternalError"):
        guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    guard.messages.clear()
    guard()
    assert guard.told.startswith(f"{BACKUP_ID}: READY\n")


@pytest.mark.parametrize("missing", ["requestParameters", "eventTime"])
def test_an_event_of_another_shape_is_not_passed_over(guard: Guard, missing: str) -> None:
    """If CloudTrail's records change, the function fails and the event reaches the dead-letter queue."""
    event = copy.deepcopy(EVENT)
    del event["detail"][missing]
    with pytest.raises(ValueError, match=missing):
        guard(event)
    assert guard.messages == []


# --- The template ---


_ABSENT: Final = object()


def matches(pattern: Any, event: Mapping[str, Any]) -> bool:
    """Whether EventBridge hands the event on: as much of its pattern language as the template uses."""
    return all(
        matches(wanted, event.get(key) or {})
        if isinstance(wanted, dict)
        else any(_accepts(each, event.get(key, _ABSENT)) for each in wanted)
        for key, wanted in pattern.items()
    )


def _accepts(wanted: object, value: object) -> bool:
    match wanted:
        case str():
            return value == wanted
        case {"exists": False}:
            return value is _ABSENT
        case {"anything-but": str(other)}:
            return value is not _ABSENT and value != other
        case _:
            raise AssertionError(f"the template uses {wanted}, and this test does not know what it means")


def test_the_rule_takes_a_deletion() -> None:
    """The template's pattern matches the event of a deletion."""
    assert matches(RULE["Pattern"], EVENT)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(_with({}, errorCode="AccessDenied", responseElements=None), id="refused"),
        pytest.param(_with({}, eventName="RestoreBackup"), id="our own call"),
        pytest.param(_with({}, eventSource="dynamodb.amazonaws.com"), id="another service"),
        pytest.param(_with({}, userIdentity={"type": "AWSService"}), id="the service itself"),
        pytest.param(_with({"detail-type": "AWS Service Event via CloudTrail"}), id="no API call"),
    ],
)
def test_the_rule_takes_nothing_else(event: dict[str, Any]) -> None:
    """A refused deletion, the guard's own restore, other services and the retention policy start nothing."""
    assert not matches(RULE["Pattern"], event)


def _statements() -> dict[str, Any]:
    [policy] = RESOURCES["Role"]["Properties"]["Policies"]
    allowed: dict[str, Any] = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        allowed |= dict.fromkeys([actions] if isinstance(actions, str) else actions, statement["Resource"])
    return allowed


def test_the_role_allows_what_the_function_calls_and_no_more(guard: Guard, service: LocalCloudHsm) -> None:
    """Each operation is allowed on the narrowest resource that it supports, and no other operation is."""
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    guard()
    called = {f"cloudhsm:{request.operation}" for request in service.requests} | {"sns:Publish"}
    by_lambda_itself = {"sqs:SendMessage", "logs:CreateLogStream", "logs:PutLogEvents"}
    allowed = _statements()
    assert set(allowed) == called | by_lambda_itself
    assert {action for action, resource in allowed.items() if resource == "*"} == {"cloudhsm:DescribeBackups"}
    assert allowed["sns:Publish"] == GUARD["Environment"]["Variables"]["TOPIC_ARN"]
    assert allowed["sqs:SendMessage"] == DEAD_LETTERS


CALLS_AFTER_THE_DEADLINE: Final = ["RestoreBackup", "DescribeBackups"]


def test_the_function_is_not_killed_in_the_middle(guard: Guard) -> None:
    """Lambda's timeout is longer than all timeouts and pauses of the function together, as its page says."""
    call = _longest_call(guard.module.hsm._client.meta.config)
    publish = _longest_call(guard.module.sns.meta.config)
    restore = guard.module.SECONDS_TO_RESTORE + len(CALLS_AFTER_THE_DEADLINE) * call
    in_all = call + restore + publish
    assert in_all < GUARD["Timeout"]
    words = " ".join(PAGE.split())
    assert f"= {call:g} s," in words
    assert f"make {in_all:g} s." in words
    assert f"timeout is {GUARD['Timeout']} s" in words


def _longest_call(config: Any) -> float:
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    pause = 1 + 5  # botocore's longest after a first try, and what a service may add with x-amz-retry-after
    return float(2 * (config.connect_timeout + config.read_timeout) + pause)


def test_two_calls_at_most_come_after_the_deadline(
    guard: Guard, service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the time to restore is over, the try under way is brought to its end, and nothing new is begun."""
    monkeypatch.setattr(guard.module, "SECONDS_TO_RESTORE", 0)
    service.inject(Fault.STALE, "DescribeBackups")  # the look at the tags
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.INTERNAL_FAILURE_BEFORE_WORK, "DescribeBackups", times=2)
    with pytest.raises(RestoreError) as raised:
        guard()
    assert raised.value.outcome_unknown
    assert _operations(service) == ["DescribeBackups", *CALLS_AFTER_THE_DEADLINE]


def test_what_fails_is_kept_and_reported() -> None:
    """Both ways to fail, before the function and in it, end in one queue, which has an alarm."""
    assert GUARD["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"] == DEAD_LETTERS
    assert RULE["DeadLetterConfig"]["Arn"] == DEAD_LETTERS
    kept = timedelta(seconds=RESOURCES["DeadLetters"]["Properties"]["MessageRetentionPeriod"])
    assert kept > timedelta(days=7)
    [statement] = RESOURCES["DeadLettersFromRule"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == DEAD_LETTERS
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"GetAtt": "GuardBackupDeleted.Arn"}}}
    alarm = RESOURCES["DeadLettersAlarm"]["Properties"]
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"GetAtt": "DeadLetters.QueueName"}}]
    assert alarm["AlarmActions"] == [{"Ref": "Topic"}]


def test_the_function_gets_the_version_that_stands_beside_it() -> None:
    """What the function asks pip for includes this version of the library, from a wheel that lies beside."""
    lines = (FOLDER / GUARD["CodeUri"] / "requirements.txt").read_text(encoding="utf-8").splitlines()
    here, wanted = [line for line in lines if not line.startswith("#")]
    assert here == "--find-links ."
    requirement = Requirement(wanted)
    assert requirement.name == "cloudhsm-restore"
    assert requirement.specifier.contains(__version__)


# --- The policies on its page ---


def test_the_policies_name_actions_and_the_tag_as_they_are() -> None:
    """A policy with an action or a tag that does not exist is accepted by IAM, and prevents nothing."""
    policies = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(policies) == 3
    statements = [statement for policy in policies for statement in json.loads(policy)["Statement"]]
    session = botocore.session.Session()
    for statement in statements:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            service, name = action.split(":")
            model = session.get_service_model("cloudhsmv2" if service == "cloudhsm" else service)
            assert fnmatch.filter(model.operation_names, name), action
    key, value = (TEMPLATE["Parameters"][name]["Default"] for name in ("TagKey", "TagValue"))
    assert statements[0]["Condition"] == {"StringNotEquals": {f"aws:ResourceTag/{key}": value}}
    assert statements[1]["Condition"]["ForAnyValue:StringEquals"] == {"aws:TagKeys": key}
