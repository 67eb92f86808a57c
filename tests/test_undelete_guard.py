"""The undelete guard in `examples`: its functions on the local service, and its template."""

import copy
import fnmatch
import importlib
import json
import sys
import tomllib
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
PAGE: Final = (FOLDER / "README.md").read_text(encoding="utf-8")
TOPIC: Final = "arn:aws:sns:us-east-1:111122223333:guard-Topic"
INTENDED: Final = [{"Key": "deletion-is-intended", "Value": "yes"}]


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
GLOBAL: Final[dict[str, Any]] = TEMPLATE["Globals"]["Function"]
GUARD: Final[dict[str, Any]] = RESOURCES["Guard"]["Properties"]
SWEEP: Final[dict[str, Any]] = RESOURCES["Sweep"]["Properties"]
RULE: Final[dict[str, Any]] = GUARD["Events"]["BackupDeleted"]["Properties"]
DEAD_LETTERS: Final = {"GetAtt": "DeadLetters.Arn"}


class Guard:
    """The functions as Lambda has them: imported with the template's variables, and the local service."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.messages: list[dict[str, str]] = []
        self.stubber = Stubber(module.sns)
        self.trail = Stubber(module.cloudtrail)
        module.sns.meta.events.register("provide-client-params.sns.Publish", self._publish)

    def _publish(self, params: dict[str, str], **_: object) -> None:
        self.messages.append(params)

    def __call__(self, event: object = EVENT) -> None:
        """Deliver an event."""
        self.stubber.add_response("publish", {}, {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY})
        with self.stubber:
            self.module.handle(event, None)

    def sweep(self, *history: dict[str, Any]) -> None:
        """Run the daily check, with this event history in CloudTrail, newest first."""
        events = [{"CloudTrailEvent": json.dumps(event)} for event in history]
        self.trail.add_response("lookup_events", {"Events": events})
        self.stubber.add_response("publish", {}, {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY})
        with self.stubber, self.trail:
            self.module.sweep({"detail-type": "Scheduled Event"}, None)

    @property
    def message(self) -> str:
        """Subject and text of the only message that was sent."""
        [message] = self.messages
        return message["Subject"] + "\n" + message["Message"]


@pytest.fixture
def guard(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """The guard, and a backup that has just been deleted."""
    service.add_backup(backup_id=BACKUP_ID, backup_state="PENDING_DELETION")
    given = {"Topic": TOPIC} | {name: each["Default"] for name, each in TEMPLATE["Parameters"].items()}
    variables = {name: given[value["Ref"]] for name, value in GLOBAL["Environment"]["Variables"].items()}
    for name, value in (service.environ | variables).items():
        monkeypatch.setenv(name, value)
    [module_name] = {each["Handler"].partition(".")[0] for each in (GUARD, SWEEP)}
    name = f"examples.undelete_guard.{GLOBAL['CodeUri'].strip('/')}.{module_name}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    yield Guard(module)
    for client in (module.hsm, module.sns, module.cloudtrail):
        client.close()


def _with(fields: dict[str, object], **detail: object) -> dict[str, Any]:
    return EVENT | fields | {"detail": EVENT["detail"] | detail}


def _operations(service: LocalCloudHsm) -> list[str]:
    return [operation for operation, _ in groupby(request.operation for request in service.requests)]


# --- One event ---


def test_a_deleted_backup_is_restored_and_the_message_names_the_user(
    guard: Guard, service: LocalCloudHsm
) -> None:
    """A deletion without the tag is undone, and the message names the backup and the user who deleted it."""
    guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    assert guard.message.startswith(f"{BACKUP_ID}: READY\n")
    assert "assumed-role/Cleanup/nightly" in guard.message
    assert "in account 111122223333, us-east-1: READY" in guard.message


def test_a_backup_with_the_tag_stays_deleted(guard: Guard, service: LocalCloudHsm) -> None:
    """With the tag, RestoreBackup is not called, and the message says how long it can be restored."""
    service.change_backup(BACKUP_ID, tag_list=INTENDED)
    guard()
    assert _operations(service) == ["DescribeBackups"]
    assert guard.message.startswith(f"{BACKUP_ID}: left deleted\n")
    assert f"(6 d 23 h): cloudhsm-restore restore --region us-east-1 {BACKUP_ID}" in guard.message


def test_another_value_of_the_tag_does_not_allow_the_deletion(guard: Guard, service: LocalCloudHsm) -> None:
    """Only key and value together mark a deletion as intended."""
    service.change_backup(BACKUP_ID, tag_list=[{"Key": "deletion-is-intended", "Value": "no"}])
    guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY


def test_an_event_may_come_twice(guard: Guard, service: LocalCloudHsm) -> None:
    """EventBridge and Lambda deliver at least once: a second delivery finds the backup READY."""
    guard()
    guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    assert [message["Subject"] for message in guard.messages] == [f"{BACKUP_ID}: READY"] * 2


def test_a_lost_response_is_not_a_failure(guard: Guard, service: LocalCloudHsm) -> None:
    """If the response to RestoreBackup is lost, DescribeBackups resolves the outcome."""
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    guard()
    assert guard.message.startswith(f"{BACKUP_ID}: READY\n")


def test_a_rejected_restore_is_reported_and_raised(guard: Guard, service: LocalCloudHsm) -> None:
    """An error reaches the topic, with what to do and until when, and Lambda, which retries."""
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    with pytest.raises(AccessDeniedError):
        guard()
    assert guard.message.startswith(f"{BACKUP_ID}: NOT restored by this attempt\n")
    assert "Allow cloudhsm:RestoreBackup" in guard.message
    assert f"(6 d 23 h): cloudhsm-restore restore --region us-east-1 {BACKUP_ID}" in guard.message


def test_an_unknown_outcome_is_reported_as_unknown(guard: Guard, service: LocalCloudHsm) -> None:
    """If the outcome cannot be resolved, the message does not say that the backup is not restored."""
    service.inject(Fault.STALE, "DescribeBackups")  # the call for the tags
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups")
    with pytest.raises(AccessDeniedError) as raised:
        guard()
    assert raised.value.outcome_unknown
    assert guard.message.startswith(f"{BACKUP_ID}: outcome unknown\n")


def test_a_permanently_deleted_backup_is_reported(guard: Guard, service: LocalCloudHsm) -> None:
    """After the 7 days, the message says so, and contains no command that cannot work."""
    service.advance(timedelta(days=8))
    ended = datetime.now(UTC) - timedelta(days=1)
    service.change_backup(BACKUP_ID, delete_timestamp=ended)
    with pytest.raises(NotRestorableError):
        guard()
    assert f"Its 7 days ended at {ended:%Y-%m-%d %H:%M} UTC." in guard.message
    assert "cloudhsm-restore restore" not in guard.message


def test_if_the_tags_cannot_be_read_nothing_is_restored(guard: Guard, service: LocalCloudHsm) -> None:
    """If DescribeBackups is rejected, the deletion may be intended: that is reported and raised."""
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups")
    with pytest.raises(AccessDeniedError):
        guard(_with({}, eventTime=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"))
    assert _operations(service) == ["DescribeBackups"]
    assert "(6 d 23 h)" in guard.message  # from the time of the event


def test_a_message_that_cannot_be_sent_is_a_failure(guard: Guard, service: LocalCloudHsm) -> None:
    """Lambda retries until the topic has the message, although the backup is restored immediately."""
    guard.stubber.add_client_error("publish", "InternalError", http_status_code=500)
    with pytest.raises(ClientError, match="InternalError"):
        guard()
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    guard.messages.clear()
    guard()
    assert guard.message.startswith(f"{BACKUP_ID}: READY\n")


@pytest.mark.parametrize("missing", ["requestParameters", "eventTime"])
def test_an_event_of_another_shape_is_not_ignored(guard: Guard, missing: str) -> None:
    """If CloudTrail's records change, the function fails and the event reaches the dead-letter queue."""
    event = copy.deepcopy(EVENT)
    del event["detail"][missing]
    with pytest.raises(ValueError, match=missing):
        guard(event)
    assert guard.messages == []


IDENTITIES: Final[dict[str, dict[str, object]]] = {
    "absent": {},
    "null": {"userIdentity": None},
    "empty": {"userIdentity": {}},
    "nulls": {"userIdentity": {"type": None, "arn": None, "sessionContext": None}},
    "without an ARN": {"userIdentity": {"type": "Unknown"}},
    "a text": {"userIdentity": "root"},
    "no error": {"errorCode": None},
}


@pytest.mark.parametrize("fields", IDENTITIES.values(), ids=IDENTITIES)
def test_null_or_absent_fields_never_keep_a_backup_from_being_restored(
    guard: Guard, service: LocalCloudHsm, fields: dict[str, object]
) -> None:
    """Only a clear statement of CloudTrail excludes a deletion."""
    detail = {
        key: value for key, value in EVENT["detail"].items() if key not in ("userIdentity", "errorCode")
    }
    event = EVENT | {"detail": detail | fields}
    assert matches(RULE["Pattern"], event)
    guard(event)
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    assert "Deleted by an unknown user at" in guard.message


EXCLUDED: Final[dict[str, dict[str, Any]]] = {
    "rejected": {"errorCode": "AccessDenied", "responseElements": None},
    "by the service": {"userIdentity": {"type": "AWSService", "invokedBy": "cloudhsm.amazonaws.com"}},
}


@pytest.mark.parametrize("fields", EXCLUDED.values(), ids=EXCLUDED)
def test_rejected_deletions_and_those_by_the_service_are_ignored(
    guard: Guard, service: LocalCloudHsm, fields: dict[str, object]
) -> None:
    """The retention policy's deletions stay, and no message reports them."""
    guard(_with({}, **fields))
    assert service.requests == ()
    assert guard.messages == []


# --- The daily check ---


def test_the_daily_check_restores_what_no_event_reported(guard: Guard, service: LocalCloudHsm) -> None:
    """A deletion in CloudTrail's history is undone, although EventBridge did not deliver its event."""
    guard.sweep(EVENT["detail"])
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY
    assert guard.message.startswith("CloudHSM backups pending deletion in us-east-1: 1\n")
    assert f"{BACKUP_ID}: READY" in guard.message


def test_the_daily_check_follows_the_same_rule(guard: Guard, service: LocalCloudHsm) -> None:
    """The tag, and a deletion by the service itself, keep a backup deleted, and cause no message."""
    service.change_backup(BACKUP_ID, tag_list=INTENDED)
    purged = service.add_backup(backup_state="PENDING_DELETION").backup_id
    by_the_service = (
        EVENT["detail"] | EXCLUDED["by the service"] | {"requestParameters": {"backupId": purged}}
    )
    guard.sweep(by_the_service, EVENT["detail"])
    assert _operations(service) == ["DescribeBackups"]
    assert guard.messages == []


def test_the_daily_check_only_reports_a_backup_without_an_event(guard: Guard, service: LocalCloudHsm) -> None:
    """If CloudTrail has no event, the retention policy may have deleted the backup: a person decides."""
    other_service = EVENT["detail"] | {"eventSource": "dynamodb.amazonaws.com"}
    rejected = EVENT["detail"] | EXCLUDED["rejected"]
    guard.sweep(other_service, rejected)
    assert _operations(service) == ["DescribeBackups"]
    assert f"{BACKUP_ID}: left deleted: CloudTrail has no event about it" in guard.message


def test_the_newest_deletion_decides(guard: Guard, service: LocalCloudHsm) -> None:
    """A user's deletion after one by the service is undone."""
    guard.sweep(EVENT["detail"], EVENT["detail"] | EXCLUDED["by the service"])
    assert service.backups[BACKUP_ID].backup_state is BackupState.READY


def test_without_pending_backups_the_daily_check_does_nothing(guard: Guard, service: LocalCloudHsm) -> None:
    """CloudTrail is not called, and there is no message."""
    service.change_backup(BACKUP_ID, backup_state="READY")
    guard.sweep()
    assert guard.messages == []


def test_the_daily_check_reports_and_raises_what_failed(guard: Guard, service: LocalCloudHsm) -> None:
    """One failure does not stop the other restores, and Lambda retries."""
    other = service.add_backup(backup_state="PENDING_DELETION").backup_id
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    with pytest.raises(AccessDeniedError):
        guard.sweep(EVENT["detail"], EVENT["detail"] | {"requestParameters": {"backupId": other}})
    assert "NOT restored by this attempt: RestoreBackup" in guard.message
    assert ": READY" in guard.message


# --- The template ---


def matches(pattern: Any, event: Mapping[str, Any]) -> bool:
    """Return whether EventBridge delivers the event: as much of its pattern language as the template uses."""
    return all(
        matches(wanted, event.get(key) or {})
        if isinstance(wanted, dict)
        else any(_accepts(each, event.get(key)) for each in wanted)
        for key, wanted in pattern.items()
    )


def _accepts(wanted: object, value: object) -> bool:
    assert isinstance(wanted, str), f"the template uses {wanted}, which this test does not know"
    return value == wanted


def test_the_rule_matches_a_deletion() -> None:
    """The template's pattern matches the event of a deletion."""
    assert matches(RULE["Pattern"], EVENT)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(_with({}, eventName="RestoreBackup"), id="the guard's own call"),
        pytest.param(_with({}, eventSource="dynamodb.amazonaws.com"), id="another service"),
        pytest.param(_with({"detail-type": "AWS Service Event via CloudTrail"}), id="not an API call"),
    ],
)
def test_the_rule_matches_nothing_else(event: dict[str, Any]) -> None:
    """The guard's own restore, other services, and service events start nothing."""
    assert not matches(RULE["Pattern"], event)


def _statements() -> dict[str, Any]:
    [policy] = RESOURCES["Role"]["Properties"]["Policies"]
    allowed: dict[str, Any] = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        allowed |= dict.fromkeys([actions] if isinstance(actions, str) else actions, statement["Resource"])
    return allowed


def test_the_role_allows_what_the_functions_call_and_no_more(guard: Guard, service: LocalCloudHsm) -> None:
    """Each operation is allowed on the narrowest resource that it supports, and no other operation is."""
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    guard()
    called = {f"cloudhsm:{request.operation}" for request in service.requests}
    called |= {"sns:Publish", "cloudtrail:LookupEvents"}
    by_lambda_itself = {"sqs:SendMessage", "logs:CreateLogStream", "logs:PutLogEvents"}
    allowed = _statements()
    assert set(allowed) == called | by_lambda_itself
    everywhere = {action for action, resource in allowed.items() if resource == "*"}
    assert everywhere == {"cloudhsm:DescribeBackups", "cloudtrail:LookupEvents"}
    assert allowed["sns:Publish"] == GLOBAL["Environment"]["Variables"]["TOPIC_ARN"]
    assert allowed["sqs:SendMessage"] == DEAD_LETTERS


CALLS_AFTER_THE_DEADLINE: Final = ["RestoreBackup", "DescribeBackups"]


def test_the_function_is_not_killed_in_the_middle(guard: Guard) -> None:
    """Lambda's timeout is longer than all timeouts and pauses of the function, as the README says."""
    call = _longest_call(guard.module.hsm._client.meta.config)
    publish = _longest_call(guard.module.sns.meta.config)
    restore = guard.module.SECONDS_TO_RESTORE + len(CALLS_AFTER_THE_DEADLINE) * call
    in_all = call + restore + publish
    assert in_all < GUARD["Timeout"]
    words = " ".join(PAGE.split())
    assert f"= {call:g} s." in words
    assert f"make {in_all:g} s." in words
    assert f"timeout of the function is {GUARD['Timeout']} s" in words
    assert f"daily check has {SWEEP['Timeout']} s" in words


def _longest_call(config: Any) -> float:
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    pause = (
        1 + 5
    )  # botocore's longest after a first attempt, and what a service may add with x-amz-retry-after
    return float(2 * (config.connect_timeout + config.read_timeout) + pause)


def test_two_calls_at_most_come_after_the_deadline(
    guard: Guard, service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the time to restore is over, only the outcome of the attempt in flight is resolved."""
    monkeypatch.setattr(guard.module, "SECONDS_TO_RESTORE", 0)
    service.inject(Fault.STALE, "DescribeBackups")  # the call for the tags
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    service.inject(Fault.INTERNAL_FAILURE_BEFORE_WORK, "DescribeBackups", times=2)
    with pytest.raises(RestoreError) as raised:
        guard()
    assert raised.value.outcome_unknown
    assert _operations(service) == ["DescribeBackups", *CALLS_AFTER_THE_DEADLINE]


def test_errors_are_kept_and_raise_an_alarm_on_a_topic_of_their_own() -> None:
    """Errors before a function and in it end in one queue, which has an alarm."""
    daily = SWEEP["Events"]["Daily"]["Properties"]
    for function, event in ((GUARD, RULE), (SWEEP, daily)):
        assert function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"] == DEAD_LETTERS
        assert event["DeadLetterConfig"]["Arn"] == DEAD_LETTERS
    assert daily["Schedule"] == "rate(1 day)"
    kept = timedelta(seconds=RESOURCES["DeadLetters"]["Properties"]["MessageRetentionPeriod"])
    assert kept > timedelta(days=7)
    [statement] = RESOURCES["DeadLettersFromRules"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == DEAD_LETTERS
    rules = [{"GetAtt": "GuardBackupDeleted.Arn"}, {"GetAtt": "SweepDaily.Arn"}]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": rules}}
    alarm = RESOURCES["DeadLettersAlarm"]["Properties"]
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"GetAtt": "DeadLetters.QueueName"}}]
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]


def test_messages_and_alarms_have_a_reader() -> None:
    """CloudFormation rejects a stack without a subscription, and each subscription is for both topics."""
    [assertion] = TEMPLATE["Rules"]["MessagesHaveAReader"]["Assertions"]
    given = [{"Not": [{"Equals": [{"Ref": name}, ""]}]} for name in ("Email", "Endpoint")]
    assert assertion["Assert"] == {"Or": given}
    subscribed = {
        (each["Condition"], each["Properties"]["TopicArn"]["Ref"])
        for each in RESOURCES.values()
        if each["Type"] == "AWS::SNS::Subscription"
    }
    assert subscribed == {
        (condition, topic) for condition in ("HasEmail", "HasEndpoint") for topic in ("Topic", "AlarmTopic")
    }


def test_the_log_outlives_the_stack() -> None:
    """The log group is evidence, and is kept for longer than a year."""
    assert RESOURCES["Log"]["DeletionPolicy"] == RESOURCES["Log"]["UpdateReplacePolicy"] == "Retain"
    assert RESOURCES["Log"]["Properties"]["RetentionInDays"] > 365


def test_any_python_that_the_library_supports_can_build_it() -> None:
    """The functions' Python is a parameter, whose values are the versions in pyproject.toml."""
    project = tomllib.loads((FOLDER.parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    minors = [each.rpartition(" ")[2] for each in project["classifiers"] if " :: 3." in each]
    parameter = TEMPLATE["Parameters"]["PythonRuntime"]
    assert parameter["AllowedValues"] == [f"python{minor}" for minor in minors]
    assert parameter["Default"] in parameter["AllowedValues"]
    assert GLOBAL["Runtime"] == {"Ref": "PythonRuntime"}


def test_the_functions_get_the_version_of_this_repository() -> None:
    """The functions' requirements include this version of the library, from a wheel in the same folder."""
    lines = (FOLDER / GLOBAL["CodeUri"] / "requirements.txt").read_text(encoding="utf-8").splitlines()
    here, wanted = [line for line in lines if not line.startswith("#")]
    assert here == "--find-links ."
    requirement = Requirement(wanted)
    assert requirement.name == "cloudhsm-restore"
    assert requirement.specifier.contains(__version__)


# --- The policies ---


def test_the_policies_name_actions_and_the_tag_as_they_are() -> None:
    """A policy with an action or a tag that does not exist is accepted by IAM, and prevents nothing."""
    files = ("deny-deletion", "reserve-tag", "reserve-guard")
    policies = [json.loads((FOLDER / "policies" / f"{name}.json").read_text("utf-8")) for name in files]
    page = (FOLDER.parent.parent / "docs" / "how-to" / "undelete-guard.md").read_text("utf-8")
    assert json.loads(page.partition("```json\n")[2].partition("```")[0]) == policies[0]
    statements = [statement for policy in policies for statement in policy["Statement"]]
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
