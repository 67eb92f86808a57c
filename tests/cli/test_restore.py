"""``restore``: which backups, the confirmation, the dry run, outcomes, and how to retry."""

import json
import shlex
from pathlib import Path

import pytest

from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ..terminal import Terminal, run
from .helpers import Call, calls, here, outcomes, pending, records, states, summary


def test_one_backup(service: LocalCloudHsm, call: Call) -> None:
    """One backup is restored without a confirmation; a second time it is already restored."""
    backup_id = pending(service, never_expires=True)[0]
    first, second = (call("restore", backup_id) for _ in range(2))
    assert outcomes(first.out) == {backup_id: "restored"}
    assert outcomes(second.out) == {backup_id: "already_restored"}
    assert (first.status, second.status) == (0, 0)
    assert first.err == summary(service, "1 restored, 0 already restored, 0 failed, 0 unknown") + "\n"
    assert service.backups[backup_id].backup_state == "READY"
    [one], [two] = records(first.out), records(second.out)
    assert (one["changed"], two["changed"], one["region"]) == (True, False, "us-east-1")
    assert len(one["request_id"]) == len(two["request_id"]) == 36
    assert [each.operation for each in service.requests] == ["RestoreBackup"] * 2 + ["DescribeBackups"]


# --- Which backups ---


@pytest.mark.parametrize(
    "form",
    [
        "# those of the payments team\n{0}\n\n  # and\n{1}\n",
        "{0}  # payments\n{1}\t# 6 d left\n",
        '"{0}"\n"{1}" # a comment\n',
        '["{0}", "{1}"]',
        "arn:aws:cloudhsm:us-east-1:111122223333:backup/{0}\n{1}",
        '[\n  "{0}",\n  {{"backup_id": "{1}", "outcome": "failed"}}\n]\n',
        '{{"backup_id": "{0}", "tag_list": [{{"key": "a #b", "value": ""}}]}}\n{{"backup_id": "{1}"}}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_forms_of_standard_input(service: LocalCloudHsm, call: Call, form: str, encoding: str) -> None:
    """IDs are lines with comments, or JSON of any form, with a byte order mark or in UTF-16."""
    ids = pending(service, 2)
    ran = call("restore", "-", "--yes", stdin=form.format(*ids).encode(encoding))
    assert outcomes(ran.out) == dict.fromkeys(ids, "restored")


def test_standard_input_and_a_terminal(service: LocalCloudHsm, env: dict[str, str], tmp_path: Path) -> None:
    """With IDs on standard input, the confirmation comes from the terminal; repeated IDs count once."""
    ids = pending(service, 2)
    listed = tmp_path / "listed"
    listed.write_text(f"{run('list', env=env).out}\n  {ids[0]}\n")
    with listed.open() as stdin, Terminal("restore", "-", env=env, stdin=stdin) as terminal:
        terminal.read(until="Restore 2 backups")
        terminal.press("yes\n")
        assert terminal.end() == 0
    assert states(service) == {"READY": 2}


@pytest.mark.parametrize("command", [["list"], ["show"], ["restore", "--dry-run"]])
def test_json_of_every_command_is_standard_input(
    service: LocalCloudHsm, call: Call, command: list[str]
) -> None:
    """restore - reads what any command writes with --output json."""
    [backup_id] = pending(service)
    written = call(*command, *([] if command == ["list"] else [backup_id]), "--output", "json").out
    assert outcomes(call("restore", "-", stdin=written).out) == {backup_id: "restored"}


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("{}", "Line 2 of standard input is neither a backup ID nor JSON with a backup_id"),
        ("7", "Line 2 of standard input is neither"),
        ("{", "Line 2 of standard input ('{') is not a valid backup ID"),
        ("backup-a2b3c4d5e6f  6 d", "('backup-a2b3c4d5e6f 6 d') is not a valid backup ID"),
        ("backup-a2b3c4d5e6f,", "('backup-a2b3c4d5e6f,') is not a valid backup ID"),
        ('""', "Line 2 of standard input is not a valid backup ID: "),
        ("cluster-a2b3c4d5e6f", "`restore --all-pending --cluster cluster-a2b3c4d5e6f`"),
    ],
)
def test_invalid_standard_input(service: LocalCloudHsm, call: Call, bad: str, text: str) -> None:
    """An invalid line is status 2 and is named; no request was sent before."""
    [backup_id] = pending(service)
    ran = call("restore", "-", "--yes", stdin=f"{backup_id}\n{bad}\n")
    assert (ran.status, ran.out) == (2, "")
    assert text in ran.err
    assert "No request was sent." in ran.err
    assert calls(service) == set()


def test_invalid_item_of_standard_input(service: LocalCloudHsm, call: Call) -> None:
    """In a JSON array the item is named."""
    ran = call("restore", "-", "--yes", stdin='["backup-a2b3c4d5e6f", 7]')
    assert ran.status == 2
    assert "Item 2 of standard input is neither" in ran.err
    assert calls(service) == set()


@pytest.mark.parametrize(
    "bad", ["", " ", "backup-a,", "backup-a backup-b", "cluster-a2b3c4d5e6f", "arn:aws:x"]
)
@pytest.mark.parametrize("command", [["restore", "--yes"], ["show"]])
def test_invalid_id(service: LocalCloudHsm, call: Call, command: list[str], bad: str) -> None:
    """An empty variable or the like among the IDs is status 2 before any request is sent."""
    ran = call(*command, bad)
    assert (ran.status, ran.out) == (2, "")
    assert "is not a valid backup ID: " in ran.err
    assert calls(service) == set()


@pytest.mark.parametrize("command", [["restore"], ["show"]])
def test_arn_of_another_region(service: LocalCloudHsm, call: Call, command: list[str]) -> None:
    """The ARN of another region is status 2, and the message names the option that selects the region."""
    [backup_id] = pending(service)
    arn = f"arn:aws:cloudhsm:eu-west-1:111122223333:backup/{backup_id}"
    ran = call(*command, arn)
    assert (ran.status, ran.out) == (2, "")
    assert f"Error: {arn} is in another region. Pass --region eu-west-1." in ran.err
    assert calls(service) == set()
    assert call(*command, arn, "--region", "eu-west-1").status == 0


def test_nothing_on_standard_input(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """An empty standard input is status 2: a `list` that failed before it must not look like success."""
    ran = run("restore", "-", "--yes", env=env)
    assert (ran.status, ran.out, ran.err) == (2, "", "Error: No backup IDs on standard input.\n")
    assert calls(service) == set()


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_nothing_is_pending(call: Call, dry_run: list[str]) -> None:
    """If nothing is pending, the status is 0 without a confirmation, and JSON is still JSON."""
    ran = call("restore", "--all-pending", "--output", "json", *dry_run)
    assert (ran.status, json.loads(ran.out)) == (0, [])
    assert ran.err.startswith("No backups found in state PENDING_DELETION in account unknown, region us-east")


# --- Confirmation and dry run ---


@pytest.mark.parametrize(
    ("typed", "status", "text"),
    [
        ("y\n", 0, "2 restored"),
        ("\n", 1, "Nothing was restored"),
        ("\x03", 130, "0 unknown, 2 not attempted"),
        ("\x04", 1, "[y/N] \nNothing was restored"),
    ],
)
@pytest.mark.parametrize("by_id", [False, True])
def test_confirmation(
    service: LocalCloudHsm, env: dict[str, str], typed: str, status: int, text: str, by_id: bool
) -> None:
    """Several backups on a terminal need a confirmation of number, account and target; only yes confirms."""
    ids = pending(service, 2)
    with Terminal("restore", *(ids if by_id else ["--all-pending"]), env=env) as terminal:
        question = f"Restore 2 backups in account 111122223333, {here(service)}? [y/N] "
        terminal.read(until=question)
        assert calls(service) == {"DescribeBackups"}
        terminal.press(typed)
        assert terminal.end() == status
    assert terminal.raw.count("[y/N]") == 1
    assert text in terminal.text.replace("^C", "").replace("^D\b\b", "")
    assert states(service) == {"PENDING_DELETION" if status else "READY": 2}


def test_no_terminal_for_confirmation(service: LocalCloudHsm, call: Call) -> None:
    """Without a terminal several backups need --yes: status 2, and nothing is restored."""
    pending(service, 2)
    ran = call("restore", "--all-pending")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.endswith("? There is no terminal to confirm it; pass --yes.\n")
    assert states(service) == {"PENDING_DELETION": 2}


def test_confirmation_without_an_account(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """If DescribeBackups is denied, the account is unknown, and the restore works anyway."""
    ids = pending(service, 2)
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups", times=9)
    with Terminal("restore", *ids, "--never-expires", env=env) as terminal:
        where = f"account unknown, {here(service)}"
        terminal.read(until=f"Restore 2 backups in {where} and exempt them from the retention policy? [y/N]")
        terminal.press("y\n")
        assert terminal.end() == 0
    assert states(service) == {"READY": 2}


def test_dry_run(service: LocalCloudHsm, call: Call) -> None:
    """--dry-run predicts each outcome, names account and target, and only reads."""
    ids = [
        *pending(service),
        service.add_backup().backup_id,
        service.add_backup(backup_state="DELETED").backup_id,
        "backup-7777777zzzz",
    ]
    ran = call("restore", "--dry-run", *ids)
    assert list(outcomes(ran.out).values()) == [
        "would_restore",
        "already_restored",
        "would_not_restore",
        "would_not_restore",
    ]
    assert ran.status == 1
    assert "would not be restored: the state is DELETED. " in ran.err
    counts = "1 already restored, 1 would be restored, 2 would not be restored"
    assert ran.err.endswith(f"Dry run: {summary(service, counts)} Nothing was changed.\n")
    assert calls(service) == {"DescribeBackups"}


def test_dry_run_without_permission(service: LocalCloudHsm, call: Call) -> None:
    """If DescribeBackups is denied, a dry run reports that the outcome is undetermined."""
    [backup_id] = pending(service)
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups", times=9)
    ran = call("restore", "--dry-run", backup_id)
    assert list(outcomes(ran.out).values()) == ["undetermined"]
    assert "0 would be restored, 1 would be attempted, state unknown (account unknown" in ran.err
    assert ran.status == 1


# --- Outcomes ---


def test_never_expires(service: LocalCloudHsm, call: Call) -> None:
    """--never-expires leaves its trace; without it, one line says what the retention policy can do."""
    first, second, ready = *pending(service, 2), service.add_backup().backup_id
    table = call("restore", first, "--never-expires", "--output", "table")
    assert table.out.splitlines()[1].split("  ")[1:2] == ["restored, exempt"]
    assert "retention" not in table.err
    assert service.backups[first].never_expires
    ran = call("restore", second, ready, first, "--yes", "--workers", "1")
    assert (
        "\nThe retention policy can delete 2 of these again; --never-expires prevents that.\n"
        in f"\n{ran.err}"
    )
    ran = call("restore", second, ready, first, "--yes", "--never-expires")
    assert outcomes(ran.out) == {second: "exempted", ready: "exempted", first: "already_restored"}
    assert (
        ran.err == summary(service, "0 restored, 1 already restored, 2 exempted, 0 failed, 0 unknown") + "\n"
    )


def test_failed_exemption(service: LocalCloudHsm, call: Call) -> None:
    """If only the exemption fails, the backup is reported as restored, with status 1."""
    [backup_id] = pending(service)
    service.inject(Fault.ACCESS_DENIED, "ModifyBackupAttributes")
    ran = call("restore", backup_id, "--never-expires")
    assert outcomes(ran.out) == {backup_id: "not_exempt"}
    assert ran.status == 1
    assert "The backup is restored (READY)" in ran.err
    assert "1 restored but not exempt from retention, 0 failed, 0 unknown (" in ran.err


def test_failures_and_the_command_to_retry(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Each outcome is counted, a failure has its cause, and the printed command retries what failed."""
    good, denied = pending(service, 2)
    ready = service.add_backup().backup_id
    service.inject(Fault.DELAY, "RestoreBackup", seconds=0)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    options = ("--yes", "--workers", "1", "--timeout", "2m", "--region", "us-east-1")
    ran = run("restore", good, denied, ready, *options, env=env)
    assert outcomes(ran.out) == {good: "restored", denied: "failed", ready: "already_restored"}
    assert ran.status == 1
    cause, _, command, _, last = ran.err.splitlines()
    assert cause.startswith(f"not restored: RestoreBackup {denied}: CloudHsmAccessDeniedException")
    assert cause.rstrip(".").endswith("in the account that owns the backup")
    assert last == summary(service, "1 restored, 1 already restored, 1 failed, 0 unknown")
    expected = f"-m cloudhsm_restore restore --yes --workers 1 --timeout 120.0 --region us-east-1 {denied}"
    assert command.split()[1:] == expected.split()
    again = run(*command.split()[3:], env=env)
    assert (again.status, outcomes(again.out)) == (0, {denied: "restored"})


@pytest.mark.parametrize("all_pending", [False, True])
def test_60_denied_for_one_reason(service: LocalCloudHsm, env: dict[str, str], all_pending: bool) -> None:
    """60 backups that are denied for one reason are at most 12 lines at 80 columns, and end early."""
    ids = pending(service, 60)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup", times=60)
    with Terminal("restore", *(["--all-pending"] if all_pending else ids), "--yes", env=env) as terminal:
        assert terminal.end() == 1
    text = terminal.text.split("\r\x1b[K")[-1]
    lines = sum(max(1, -(-len(line) // 80)) for line in text.rstrip().splitlines())
    assert lines <= 12
    attempted = len({each.backup_id for each in service.requests if each.operation == "RestoreBackup"})
    assert 10 <= attempted <= 30
    assert f"{attempted} not restored: CloudHsmAccessDeniedException. Allow cloudhsm:RestoreBackup" in text
    assert "First: backup-" in text
    assert ", request ID " in text
    assert "Stopped early: 10 backups in a row failed with CloudHsmAccessDeniedException." in text
    assert f"{attempted} failed, 0 unknown, {60 - attempted} not attempted (account" in text
    assert "To retry, run the same command again." in text
    service.clear_faults()
    assert run("restore", "--all-pending", "--yes", env=env).status == 0


def test_only_what_failed_of_many(service: LocalCloudHsm, call: Call) -> None:
    """Of more than 20 backups, the table shows only those that failed, with last known cluster and state."""
    pending(service, 24)
    denied = pending(service, cluster_id="cluster-bbbbbbbbbbb")[0]
    service.inject(Fault.DELAY, "RestoreBackup", times=24, seconds=0)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    ran = call("restore", "--all-pending", "--yes", "--workers", "1", "--output", "table")
    header, row, _ = ran.out.splitlines()
    assert header.split() == ["ID", "Outcome", "Cluster", "State"]
    assert row.split() == [denied, "failed", "cluster-bbbbbbbbbbb", "PENDING_DELETION"]


def test_retry_of_all_pending(service: LocalCloudHsm, call: Call) -> None:
    """Backups that may be READY are retried by ID, because --all-pending does not find them again."""
    ids = pending(service, 11)
    service.inject(Fault.ACCESS_DENIED, "ModifyBackupAttributes", times=11)
    ran = call("restore", "--all-pending", "--yes", "--never-expires")
    what, command = ran.err.splitlines()[-3:-1]
    assert what == "To retry:"
    words = shlex.split(command)
    assert call(*words[words.index("restore") :]).status == 0
    assert all(service.backups[backup_id].never_expires for backup_id in ids)


def test_no_retry_if_it_cannot_help(env: dict[str, str]) -> None:
    """An unknown ID is not offered again."""
    ran = run("restore", "backup-7777777zzzz", env=env)
    assert "retry" not in ran.err
    assert ran.status == 1


def test_outcome_unknown(service: LocalCloudHsm, call: Call) -> None:
    """A lost response that DescribeBackups cannot resolve is unknown, with a command as advice."""
    backup_id = pending(service)[0]
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups", times=9)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    ran = call("restore", backup_id)
    assert outcomes(ran.out) == {backup_id: "unknown"}
    assert ran.status == 3
    assert "0 failed, 1 unknown (" in ran.err
    assert "ensure_restored" not in ran.out + ran.err


def test_several_unknown_outcomes(service: LocalCloudHsm, call: Call) -> None:
    """Several unknown outcomes for one reason are one line, which says what unknown means."""
    pending(service, 3)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup", times=9)
    service.inject(Fault.STALE, "DescribeBackups", times=99)
    ran = call("restore", "--all-pending", "--yes", "--timeout", "0")
    assert ran.status == 3
    [line] = [line for line in ran.err.splitlines() if line.startswith("3 unknown: ")]
    assert "May have been restored anyway. First: backup-" in line


def test_lost_responses_are_resolved(service: LocalCloudHsm, call: Call) -> None:
    """--all-pending restores everything despite lost responses, throttling and malformed JSON: status 0."""
    ids = pending(service, 40)
    for fault in (
        Fault.DROP_AFTER_WORK,
        Fault.THROTTLED,
        Fault.TRUNCATED_JSON,
        Fault.INTERNAL_FAILURE_BEFORE_WORK,
    ):
        service.inject(fault, "RestoreBackup", times=2)
    ran = call("restore", "--all-pending", "--yes", "--workers", "20")
    assert ran.status == 0
    assert outcomes(ran.out) == dict.fromkeys(ids, "restored")
    assert states(service) == {"READY": 40}


def test_credentials_that_expire(service: LocalCloudHsm, call: Call) -> None:
    """When the credentials expire, the run ends early: status 4, and the rest is not attempted."""
    pending(service, 30)
    service.inject(Fault.DELAY, "RestoreBackup", times=3, seconds=0)
    service.inject(Fault.EXPIRED_CREDENTIALS, "RestoreBackup", times=30)
    ran = call("restore", "--all-pending", "--yes", "--workers", "1")
    counted = list(outcomes(ran.out).values())
    assert ran.status == 4
    assert counted.count("restored") == 3
    assert 1 <= counted.count("failed") <= 3
    assert counted.count("not_attempted") == 27 - counted.count("failed")
    assert "Stopped early: the other backups would fail with ExpiredTokenException too." in ran.err


def test_credentials_that_expire_at_the_last_backup(service: LocalCloudHsm, call: Call) -> None:
    """A run that ends with its last backup is not said to have stopped early."""
    pending(service)
    service.inject(Fault.EXPIRED_CREDENTIALS, "RestoreBackup")
    ran = call("restore", "--all-pending")
    assert ran.status == 4
    assert "Stopped early" not in ran.err


def test_endpoint_that_cannot_be_reached(env: dict[str, str]) -> None:
    """If nothing listens, the run ends early, and everything is reported."""
    ids = [f"backup-{number}" for number in range(40)]
    ran = run("restore", *ids, "--yes", "--endpoint-url", "http://127.0.0.1:1", env=env)
    assert ran.status == 1
    counted = list(outcomes(ran.out).values())
    assert counted.count("not_attempted") >= 10
    assert counted.count("failed") + counted.count("not_attempted") == 40
    assert "Stopped early: 10 backups in a row failed with ConnectError." in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["restore"],
        ["restore", "--all-pending", "backup-a"],
        ["restore", "backup-a", "--tag", "A=b"],
        ["restore", "backup-a", "--deleted-after", "2h"],
        ["list", "--state", "PENDING"],
        ["list", "--all", "--state", "READY"],
        ["list", "--tag", "prod"],
        ["restore", "backup-a2b3c4d5e6f", "--timeout", "nan"],
        ["restore", "backup-a2b3c4d5e6f", "--timeout", "-1"],
        ["restore", "backup-a2b3c4d5e6f", "--workers", "0"],
    ],
)
def test_usage_errors(service: LocalCloudHsm, call: Call, arguments: list[str]) -> None:
    """A usage error is status 2, says what is wrong, and sends nothing."""
    ran = call(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert calls(service) == set()


def test_timeout_with_a_unit(service: LocalCloudHsm, call: Call) -> None:
    """--timeout takes seconds, or minutes and hours with a unit."""
    backup_id = service.add_backup(backup_state="CREATE_IN_PROGRESS").backup_id
    ran = call("restore", backup_id, "--timeout", "0m")
    assert "not READY" in ran.err
    assert ran.status == 1
