"""The command line as a person meets it: subprocesses, pipes and pseudo-terminals, on a local service."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cloudhsm_restore
from cloudhsm_restore import Backup, RestoreError, WaitTimeoutError
from cloudhsm_restore.cli import main
from cloudhsm_restore.cli._output import Outcome, time_left_in_words
from cloudhsm_restore.cli._settings import in_words
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from .raw_server import RawServer, http
from .terminal import CLI, Ran, Terminal, environment, run

SECRET = "c0nspicuous-Secret"
ESCAPE = "\x1b"


@pytest.fixture
def service() -> Iterator[LocalCloudHsm]:
    with LocalCloudHsm() as service:
        yield service


@pytest.fixture
def env(service: LocalCloudHsm, tmp_path: Path) -> dict[str, str]:
    """The service's environment; botocore tries once, so that each fault is met by the command."""
    return environment(tmp_path, **service.environ, AWS_MAX_ATTEMPTS="1")


Call = Callable[..., Ran]


@pytest.fixture
def call(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command in this process, where it is only about what is said: faster."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)

    def call(*arguments: str, stdin: str = "", **more: str) -> Ran:
        for name, value in {**env, **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.stdin", StringIO(stdin))
        status = main(arguments)
        written = capsys.readouterr()
        return Ran(status, written.out, written.err)

    return call


def pending(service: LocalCloudHsm, number: int = 1, **fields: Any) -> list[str]:
    return [service.add_backup(backup_state="PENDING_DELETION", **fields).backup_id for _ in range(number)]


def states(service: LocalCloudHsm) -> Counter[str]:
    return Counter(str(backup.backup_state) for backup in service.backups.values())


def here(service: LocalCloudHsm) -> str:
    return f"region us-east-1, endpoint {service.endpoint_url}"


def calls(service: LocalCloudHsm) -> set[str]:
    return {request.operation for request in service.requests}


# --- JSON ---

SCHEMA = json.loads(files("cloudhsm_restore.cli").joinpath("schema.json").read_text())


def valid(kind: str, item: Any) -> Any:
    """The item, which the published schema accepts."""
    schema = {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{kind}"}]}
    jsonschema.validate(item, schema, jsonschema.Draft202012Validator)
    return item


def records(text: str) -> list[Any]:
    return [valid("record", json.loads(line)) for line in text.splitlines()]


def outcomes(text: str) -> dict[str, str]:
    return {record["backup_id"]: record["outcome"] for record in records(text)}


def test_schema_names_what_there_is() -> None:
    """The published schema has every field of a backup and every outcome."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["$defs"]["backup"]["required"]) == set(Backup.model_fields)
    named = SCHEMA["$defs"]["record"]["properties"]["outcome"]["oneOf"]
    assert [each["const"] for each in named] == list(Outcome)


def test_list_writes_json_lines_into_a_pipe(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """In a pipe, list writes what is pending as JSON lines, soonest to be lost first, and nothing else."""
    late, soon = (pending(service, delete_timestamp=service.now + timedelta(days=days))[0] for days in (6, 1))
    service.add_backup()
    listed = run("list", env=env)
    backups = [valid("backup", json.loads(line)) for line in listed.out.splitlines()]
    assert [backup["backup_id"] for backup in backups] == [soon, late]
    assert (listed.status, listed.err) == (0, "")
    assert Backup.model_validate(backups[0]) == service.backups[soon]


def test_list_and_show_in_json(service: LocalCloudHsm, call: Call) -> None:
    """With --output json, list writes an array and show an object, with a field that AWS added later."""
    backup_id = pending(service)[0]
    [listed] = json.loads(call("list", "--output", "json").out)
    shown = json.loads(call("--output", "json", "show", backup_id).out)
    assert valid("backup", listed) == valid("backup", shown)
    assert shown["backup_id"] == backup_id


# --- list ---


def test_list_filters(service: LocalCloudHsm, call: Call) -> None:
    """--cluster, --tag, --state and --all choose; with several tags a backup needs all of them."""
    tags = [{"Key": "Env", "Value": "prod"}, {"Key": "Team", "Value": "a=b"}]
    wanted = pending(service, tag_list=tags, cluster_id="cluster-bbbbbbbbbbb")[0]
    pending(service, tag_list=tags[:1], cluster_id="cluster-bbbbbbbbbbb")
    pending(service, tag_list=tags)
    ready = service.add_backup().backup_id

    def listed(*arguments: str) -> set[str]:
        return {json.loads(line)["backup_id"] for line in call("list", *arguments).out.splitlines()}

    assert listed("--cluster", "cluster-bbbbbbbbbbb", "--tag", "Env=prod", "--tag", "Team=a=b") == {wanted}
    assert listed("--state", "ready") == {ready}
    assert listed("--all") == set(service.backups)


@pytest.mark.parametrize(("columns", "lines_each"), [(80, 3), (200, 1)])
def test_list_fits_the_terminal(
    service: LocalCloudHsm, env: dict[str, str], columns: int, lines_each: int
) -> None:
    """On a terminal, list is a table that fits it and breaks no ID; under 24 hours are red."""
    tags = [{"Key": "Name", "Value": "payments"}, {"Key": "Evil", "Value": f"{ESCAPE}[2J"}]
    soon = pending(service, delete_timestamp=service.now + timedelta(hours=3, seconds=30), tag_list=tags)[0]
    late = pending(service, cluster_id="cluster-ccccccccccc")[0]
    with Terminal("list", env=env, columns=columns) as terminal:
        assert terminal.end() == 0
        lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= columns
    assert f"{ESCAPE}[1;31m3 h 0 min{ESCAPE}[0m" in terminal.raw
    assert f"{ESCAPE}[2J" not in terminal.raw
    assert terminal.text.index(soon) < terminal.text.index(late)
    text = " ".join(terminal.text.split())
    for part in (
        "Deleted",
        "hsm1.medium",
        "FIPS",
        "cluster-ccccccccccc",
        "6 d 23 h",
        "Name=payments",
        "2026-01-02",
    ):
        assert part in text
    assert "2 in account 111122223333, region us-east-1, endpoint http://127.0.0.1:" in text
    first, second = (next(n for n, line in enumerate(lines) if each in line) for each in (soon, late))
    assert second - first == lines_each


@pytest.mark.parametrize(
    ("more", "arguments"), [({"NO_COLOR": "1"}, []), ({"TERM": "dumb"}, []), ({}, ["--no-color"])]
)
def test_no_colors(
    service: LocalCloudHsm, env: dict[str, str], more: dict[str, str], arguments: list[str]
) -> None:
    """NO_COLOR, --no-color and a dumb terminal get no escape sequence."""
    pending(service, delete_timestamp=service.now + timedelta(hours=3))
    with Terminal("list", *arguments, env=env | more) as terminal:
        assert terminal.end() == 0
    assert ESCAPE not in terminal.raw


def test_empty_list_says_where_it_looked(call: Call) -> None:
    """Where there is nothing, list says in what region, for it may be the wrong one."""
    listed = call("--region", "eu-west-1", "list", "--region", "eu-central-1")
    assert (listed.status, listed.out) == (0, "")
    assert "no backup that is PENDING_DELETION in region eu-central-1" in listed.err


def test_endpoint_without_a_region(call: Call) -> None:
    """An endpoint can do without a region, and then none is made up."""
    listed = call("list", AWS_DEFAULT_REGION="", AWS_REGION="")
    assert "in region not set, endpoint http://127.0.0.1:" in listed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--all"], "There is no backup in region"),
        (["--all", "--tag", "X=y"], "There is no backup that passes the filters in region"),
        (["--tag", "X=y"], "no backup that is PENDING_DELETION and passes the filters in region"),
        (["--state", "READY", "--state", "DELETED"], "no backup that is READY or DELETED in region"),
    ],
)
def test_empty_list_says_what_it_looked_for(call: Call, arguments: list[str], said: str) -> None:
    """Where nothing passes, list says what was asked for."""
    assert said in call("list", *arguments).err


@pytest.mark.parametrize(
    "command", [["list"], ["restore", "--all-pending", "--dry-run"], ["restore", "--yes"]]
)
@pytest.mark.parametrize("columns", [60, 40])
def test_narrow_terminal(
    service: LocalCloudHsm, env: dict[str, str], command: list[str], columns: int
) -> None:
    """On a narrow terminal no ID is cropped or broken, in whatever state and with whatever tags."""
    tags = [{"Key": "Name", "Value": "payments " * 9}]
    ids = [*pending(service), *pending(service, tag_list=tags, cluster_id="cluster-ccccccccccc")]
    more = ids if command[-1] == "--yes" else []
    with Terminal(*command, *more, env=env, columns=columns) as terminal:
        assert terminal.end() == 0
    end = "2 restored" if more else "in account"
    table = terminal.text[terminal.text.index("Backup") : terminal.text.index(end)]
    for part in (*ids, "cluster-ccccccccccc"):
        assert part in table.split()
    assert max(map(len, table.splitlines())) <= columns


def test_narrower_than_an_id(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Where not even an ID fits, it goes on in the next line."""
    [backup_id] = pending(service)
    with Terminal("list", env=env, columns=30) as terminal:
        assert terminal.end() == 0
    assert backup_id in "".join(terminal.text.split())


def test_words_for_the_time_left() -> None:
    """The time left is rounded down, and never looks longer than it is."""
    left = [timedelta(days=6, hours=23, minutes=59), timedelta(hours=23, minutes=59), timedelta(seconds=119)]
    assert [time_left_in_words(each) for each in left] == ["6 d 23 h", "23 h 59 min", "1 min"]
    assert time_left_in_words(timedelta(seconds=-1)) == "any moment"


def test_reader_that_has_had_enough(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Standard output closed early is no failure: `list | head -1` ends quietly."""
    pending(service, 400)
    command = f"{shlex.join(CLI)} list | head -1; echo ${{PIPESTATUS[0]}}"
    done = run("-c", command, env=env, python=("bash",))
    assert done.out.splitlines()[1:] == ["0"]
    assert done.err == ""


# --- show ---


def test_show_on_a_terminal(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """show has every field of the backup, and how long is left."""
    backup_id = pending(service)[0]
    with Terminal("show", backup_id, env=env, columns=120) as terminal:
        assert terminal.end() == 0
    text = " ".join(terminal.text.split())
    for part in (
        f"backup id {backup_id}",
        "backup state PENDING_DELETION",
        "6 d 23 h",
        "mode FIPS",
        "never expires no",
    ):
        assert part in text


def test_show_of_an_unknown_backup(call: Call) -> None:
    """An ID that nobody knows is status 1, and the message has the ID and the region."""
    shown = call("show", "backup-nobodyknows")
    assert (shown.status, shown.out) == (1, "")
    assert "backup-nobodyknows" in shown.err
    assert "region us-east-1" in shown.err


# --- restore ---


def test_restore_one(service: LocalCloudHsm, call: Call) -> None:
    """One backup is restored without a question; again, it is already fine."""
    backup_id = pending(service)[0]
    first, second = (call("restore", backup_id) for _ in range(2))
    assert outcomes(first.out) == {backup_id: "restored"}
    assert outcomes(second.out) == {backup_id: "already_restored"}
    assert (first.status, second.status) == (0, 0)
    assert first.err == f"1 restored, 0 already fine, 0 failed, 0 unknown in {here(service)}.\n"
    assert service.backups[backup_id].backup_state == "READY"


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("y\n", 0, "2 restored"),
        ("\n", 1, "Nothing was restored"),
        ("\x03", 130, "\nError: Interrupted before"),
        ("\x04", 1, "[y/N] \nNothing was restored"),
    ],
)
def test_question(service: LocalCloudHsm, env: dict[str, str], typed: str, status: int, said: str) -> None:
    """Several backups on a terminal are one question with number, account and region; only yes is yes."""
    pending(service, 2)
    with Terminal("restore", "--all-pending", env=env) as terminal:
        question = f"Restore 2 backups in account 111122223333, {here(service)}? [y/N] "
        terminal.read(until=question)
        assert calls(service) == {"DescribeBackups"}
        terminal.press(typed)
        assert terminal.end() == status
    assert terminal.raw.count("[y/N]") == 1
    assert said in terminal.text.replace("^C", "").replace("^D\b\b", "")
    assert states(service) == {"PENDING_DELETION" if status else "READY": 2}


def test_no_terminal_to_ask_on(service: LocalCloudHsm, call: Call) -> None:
    """Without a terminal several backups need --yes: status 2, and nothing is restored."""
    pending(service, 2)
    refused = call("restore", "--all-pending")
    assert (refused.status, refused.out) == (2, "")
    assert "add --yes" in refused.err
    assert states(service) == {"PENDING_DELETION": 2}


def test_ids_from_standard_input(service: LocalCloudHsm, env: dict[str, str], tmp_path: Path) -> None:
    """`list | restore -` works, with the question on the terminal; plain IDs and blank lines do, too."""
    ids = pending(service, 2)
    listed = tmp_path / "listed"
    listed.write_text(f"{run('list', env=env).out}\n  {ids[0]}\n")
    with listed.open() as stdin, Terminal("restore", "-", env=env, stdin=stdin) as terminal:
        terminal.read(until="Restore 2 backups")
        terminal.press("yes\n")
        assert terminal.end() == 0
    assert states(service) == {"READY": 2}


@pytest.mark.parametrize(
    "form",
    [
        "# those of the payments team\n{0}\n\n  # and\n{1}\n",
        '"{0}"\n"{1}"\n',
        '["{0}", "{1}"]',
        '[\n  "{0}",\n  {{"backup_id": "{1}", "outcome": "failed"}}\n]\n',
    ],
)
def test_forms_of_standard_input(service: LocalCloudHsm, call: Call, form: str) -> None:
    """IDs come as lines, with comments between them, or as JSON of any form."""
    ids = pending(service, 2)
    ran = call("restore", "-", "--yes", stdin=form.format(*ids))
    assert outcomes(ran.out) == dict.fromkeys(ids, "restored")


@pytest.mark.parametrize("command", [["list"], ["show"], ["restore", "--dry-run"]])
def test_json_of_every_command_is_standard_input(
    service: LocalCloudHsm, call: Call, command: list[str]
) -> None:
    """What any command writes with --output json, restore reads."""
    [backup_id] = pending(service)
    written = call(*command, *([] if command == ["list"] else [backup_id]), "--output", "json").out
    assert outcomes(call("restore", "-", stdin=written).out) == {backup_id: "restored"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{}", "Line 2 of standard input is neither"),
        ("{", "Line 2 of standard input is neither"),
        (
            "backup-a2b3c4d5e6f   6 d 23 h",
            "Line 2 of standard input ('backup-a2b3c4d5e6f   6 d 23 h') is no ID",
        ),
        ("backup-a2b3c4d5e6f,", "('backup-a2b3c4d5e6f,') ends in a comma: leave it out"),
        ("a,b", "('a,b') is no ID, for there is white space or a comma in it"),
        ("arn:aws:cloudhsm:us-east-1:1:backup/backup-a", "is an ARN"),
        ('""', "Line 2 of standard input is empty"),
    ],
)
def test_bad_standard_input(service: LocalCloudHsm, call: Call, bad: str, said: str) -> None:
    """A line that is no ID is status 2 and names the line; nothing is restored before."""
    [backup_id] = pending(service)
    ran = call("restore", "-", "--yes", stdin=f"{backup_id}\n{bad}\n")
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert calls(service) == set()


def test_bad_item_of_standard_input(service: LocalCloudHsm, call: Call) -> None:
    """In a JSON array it is the item that is named."""
    ran = call("restore", "-", "--yes", stdin='["backup-a2b3c4d5e6f", 7]')
    assert ran.status == 2
    assert "Item 2 of standard input is neither" in ran.err
    assert calls(service) == set()


@pytest.mark.parametrize(
    "bad", ["", " ", "backup-a,", "backup-a backup-b", "arn:aws:cloudhsm:x:1:backup/backup-a"]
)
def test_id_that_cannot_be_used(service: LocalCloudHsm, call: Call, bad: str) -> None:
    """An unset variable or the like among the IDs is status 2 before anything is called."""
    ran = call("restore", *pending(service), bad, "--yes")
    assert (ran.status, ran.out) == (2, "")
    assert "Error: One of the IDs" in ran.err
    assert "Nothing was restored" in ran.err
    assert calls(service) == set()


def test_dry_run_changes_nothing(service: LocalCloudHsm, call: Call) -> None:
    """--dry-run says what would be restored, in what account and region, and only reads."""
    ids = [
        *pending(service),
        service.add_backup().backup_id,
        service.add_backup(backup_state="DELETED").backup_id,
        "backup-nobodyknows",
    ]
    ran = call("restore", "--dry-run", *ids)
    assert list(outcomes(ran.out).values()) == [
        "would_restore",
        "already_restored",
        "would_not_restore",
        "would_not_restore",
    ]
    assert ran.status == 1
    assert "its state is DELETED" in ran.err
    assert (
        f"Dry run in account 111122223333, {here(service)}: 1 already fine, 1 would be restored, 2 would"
        in ran.err
    )
    assert calls(service) == {"DescribeBackups"}


def test_a_dry_run_that_may_not_look(service: LocalCloudHsm, call: Call) -> None:
    """Where DescribeBackups is not allowed, a dry run says that it would try, and not that it would not."""
    [backup_id] = pending(service)
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups", times=9)
    ran = call("restore", "--dry-run", backup_id)
    assert list(outcomes(ran.out).values()) == ["cannot_say"]
    assert "0 would be restored, 1 would be tried unseen." in ran.err
    assert "would not" not in ran.err
    assert ran.status == 1
    table = call("restore", "--dry-run", backup_id, "--output", "table")
    assert table.out == ""


def test_never_expires(service: LocalCloudHsm, call: Call) -> None:
    """--never-expires exempts; where only that fails, the backup is said to be restored, with status 1."""
    first, second = pending(service, 2)
    assert call("restore", first, "--never-expires").status == 0
    assert service.backups[first].never_expires
    service.inject(Fault.ACCESS_DENIED, "ModifyBackupAttributes")
    ran = call("restore", second, "--never-expires")
    assert outcomes(ran.out) == {second: "not_exempt"}
    assert ran.status == 1
    assert "The backup is restored (READY)" in ran.err
    assert "0 restored, 0 already fine, 1 restored but not exempt, 0 failed, 0 unknown in" in ran.err


def test_summary_and_the_command_that_tries_again(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Of many, each outcome is counted, each failure has its reason, and the command printed tries just
    those again."""
    good, denied = pending(service, 2)
    ready = service.add_backup().backup_id
    service.inject(Fault.DELAY, "RestoreBackup", seconds=0)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    ran = run("restore", good, denied, ready, "--yes", "--workers", "1", "--region", "us-east-1", env=env)
    assert outcomes(ran.out) == {good: "restored", denied: "failed", ready: "already_restored"}
    assert ran.status == 1
    reason, _, command, summary = ran.err.splitlines()
    assert reason.startswith(f"failed: RestoreBackup {denied}: CloudHsmAccessDeniedException")
    assert reason.endswith(
        "Allow cloudhsm:RestoreBackup for these credentials in the account that owns the backup."
    )
    assert summary.startswith("1 restored, 1 already fine, 1 failed, 0 unknown")
    assert command.split() == shlex.split(
        f"python -m cloudhsm_restore restore --region us-east-1 --workers 1 --yes {denied}"
    )
    again = run(*command.split()[3:], env=env)
    assert (again.status, outcomes(again.out)) == (0, {denied: "restored"})


def test_many_failures_of_all_pending(service: LocalCloudHsm, call: Call) -> None:
    """More failures than one can copy are tried again with --all-pending and the same filters."""
    wanted = {"tag_list": [{"Key": "A b", "Value": "c"}], "cluster_id": "cluster-bbbbbbbbbbb"}
    ids, other = pending(service, 30, **wanted), pending(service)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup", times=30)
    filters = ["--cluster", "cluster-bbbbbbbbbbb", "--tag", "A b=c"]
    ran = call("restore", "--all-pending", "--yes", "--never-expires", *filters)
    what, command, _ = ran.err.splitlines()[-3:]
    assert what == "To try all again that are pending still:"
    words = shlex.split(command)
    assert words[-7:] == ["--all-pending", *filters, "--never-expires", "--yes"]
    again = call(*words[words.index("restore") :])
    assert outcomes(again.out) == dict.fromkeys(ids, "restored")
    assert states(service)["PENDING_DELETION"] == len(other)


def test_many_failed_exemptions(service: LocalCloudHsm, call: Call) -> None:
    """What is READY already and only not exempt is not pending: it is tried again by its ID."""
    ids = pending(service, 11)
    service.inject(Fault.ACCESS_DENIED, "ModifyBackupAttributes", times=11)
    ran = call("restore", "--all-pending", "--yes", "--never-expires")
    what, command, _ = ran.err.splitlines()[-3:]
    assert what.startswith("To try again, pipe the output of this run into")
    words = shlex.split(command)
    call(*words[words.index("restore") :], stdin=ran.out)
    assert all(service.backups[backup_id].never_expires for backup_id in ids)


@pytest.mark.parametrize("form", ["jsonl", "json", "table"])
def test_many_failures_in_a_pipe(service: LocalCloudHsm, call: Call, form: str) -> None:
    """Elsewhere the output of the run is what to pipe into the command that tries again, or IDs."""
    ids = pending(service, 30)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup", times=29)
    ran = call("restore", *ids, "--yes", "--output", form)
    what, command, _ = ran.err.splitlines()[-3:]
    assert command.split()[-3:] == ["restore", "--yes", "-"]
    expected = (
        "To try these 29 again, pipe their IDs into:" if form == "table" else "pipe the output of this run"
    )
    assert expected in what
    again = call("restore", "--yes", "-", stdin="\n".join(ids) if form == "table" else ran.out)
    assert set(outcomes(again.out)) == set(ids)
    assert states(service) == {"READY": 30}


def test_many_failures_on_a_terminal(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """On a terminal, more IDs than one can copy go into a file, and the command reads it."""
    ids = pending(service, 30)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup", times=30)
    with Terminal("restore", *ids, "--yes", env=env, columns=200) as terminal:
        assert terminal.end() == 1
    command = next(line for line in terminal.text.splitlines() if " < " in line)
    done = run("-c", command.replace("python", shlex.quote(sys.executable), 1), env=env, python=("bash",))
    assert outcomes(done.out) == dict.fromkeys(ids, "restored")


def test_outcome_unknown(service: LocalCloudHsm, call: Call) -> None:
    """A lost answer that nobody may look into is unknown, with status 3, and the advice is a command."""
    backup_id = pending(service)[0]
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups", times=9)
    service.inject(Fault.DROP_AFTER_WORK, "RestoreBackup")
    ran = call("restore", backup_id)
    assert outcomes(ran.out) == {backup_id: "unknown"}
    assert ran.status == 3
    assert "Could not look at the backups first" in ran.err
    assert "may have been restored anyway. Run the same command again to find out" in ran.err
    assert "0 failed, 1 unknown" in ran.err
    assert "ensure_restored" not in ran.out


def test_lost_answers_are_settled(service: LocalCloudHsm, call: Call) -> None:
    """--all-pending gets everything back through lost answers, throttling and rubbish: status 0."""
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


def test_credentials_that_expire_on_the_way(service: LocalCloudHsm, call: Call) -> None:
    """When the credentials expire, nothing more is begun: status 4, and the rest is not tried."""
    pending(service, 30)
    service.inject(Fault.DELAY, "RestoreBackup", times=3, seconds=0)
    service.inject(Fault.EXPIRED_CREDENTIALS, "RestoreBackup", times=30)
    ran = call("restore", "--all-pending", "--yes", "--workers", "1")
    counted = Counter(outcomes(ran.out).values())
    assert ran.status == 4
    assert counted["restored"] == 3
    assert counted["failed"] <= 3
    assert counted["not_tried"] == 30 - 3 - counted["failed"]
    assert "Refresh the credentials" in ran.err


@pytest.mark.parametrize("target", ["closed", "/dev/full", "&- 2>&- <&-"])
def test_restore_goes_on_without_standard_output(
    service: LocalCloudHsm, env: dict[str, str], target: str
) -> None:
    """Standard output that cannot be written keeps nothing from being restored or reported."""
    pending(service, 20)
    command = f"{shlex.join(CLI)} restore --all-pending --yes"
    command += " | true; echo ${PIPESTATUS[0]}" if target == "closed" else f" >{target}; echo $?"
    done = run("-c", command, env=env, python=("bash",))
    assert states(service) == {"READY": 20}
    assert "20 restored" in done.err or "2>&-" in target
    assert "Traceback" not in done.err
    assert done.out.split() == ["1" if target == "/dev/full" else "0"]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_nothing_to_restore(call: Call, dry_run: list[str]) -> None:
    """Where nothing is pending, all is done: status 0, no question, and JSON is still JSON."""
    ran = call("restore", "--all-pending", "--output", "json", *dry_run)
    assert (ran.status, json.loads(ran.out)) == (0, [])
    assert ran.err.startswith("Nothing is pending deletion in region us-east-1, endpoint ")


def test_nothing_on_standard_input(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """An empty standard input is status 2: a `list` that failed in front of it must not look like success."""
    ran = run("restore", "-", "--yes", env=env)
    assert (ran.status, ran.out, ran.err) == (2, "", "Error: No ID came on standard input.\n")
    assert calls(service) == set()


def test_endpoint_of_the_environment(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """An endpoint from the environment is named as one from --endpoint-url is, without its password."""
    endpoint = service.endpoint_url.replace("//", f"//user:{SECRET}@")
    plain = {name: value for name, value in env.items() if "ENDPOINT" not in name}
    [backup_id] = pending(service)
    shown = f"endpoint {service.endpoint_url.replace('//', '//***@')}"
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDHSM_V2"):
        ran = run("restore", "--dry-run", backup_id, env=plain | {name: endpoint})
        assert shown in ran.err
        assert SECRET not in ran.err
    ignored = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": f"http://{SECRET}.invalid"}
    ran = run("restore", backup_id, "--endpoint-url", service.endpoint_url, env=plain | ignored)
    assert f"in {here(service)}." in ran.err


def test_no_second_try_where_it_cannot_help(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """An ID that nobody knows is not offered again; what may be restored next time is."""
    [denied] = pending(service)
    alone = run("restore", "backup-7777777zzzz", env=env)
    assert "again" not in alone.err
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups")
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup", times=2)
    both = run("restore", denied, env=env)
    assert "Restoring all the same." in both.err
    assert f"restore {denied}" in both.err


def test_nothing_restored_names_the_ids(env: dict[str, str]) -> None:
    """An endpoint that does not answer: the message has the ID, and says that nothing was restored."""
    ran = run("restore", "backup-a2b3c4d5e6f", "--endpoint-url", "http://127.0.0.1:1", env=env)
    assert ran.err.startswith("Nothing was restored of: backup-a2b3c4d5e6f\n")
    ids = (f"backup-{number}" for number in range(11))
    ran = run("restore", *ids, "--yes", "--endpoint-url", "http://127.0.0.1:1", env=env)
    assert ran.err.startswith("Nothing was restored of: 11 backups\n")


def test_ids_or_all_pending_not_both(env: dict[str, str]) -> None:
    """IDs and --all-pending together are told apart from neither."""
    assert "not both" in run("restore", "--all-pending", "backup-a", env=env).err


def test_nobody_listens(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Standard error closed early keeps nothing from being restored, and the status stays true."""
    pending(service, 20)
    service.inject(Fault.ACCESS_DENIED, "DescribeBackups")
    command = f"{shlex.join(CLI)} --verbose restore {' '.join(service.backups)} --yes 2>&1 >/dev/null | true"
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    done = run("-c", f"{command}; echo ${{PIPESTATUS[0]}}", env=env, python=("bash",))
    assert done.out.split() == ["1"]
    assert states(service) == {"READY": 19, "PENDING_DELETION": 1}


# --- Progress ---


def test_progress_bar(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """On a terminal a bar shows how far it is, and is gone at the end; a dumb terminal gets none."""
    pending(service, 20)
    service.inject(Fault.DELAY, "RestoreBackup", times=20, seconds=0.1)
    with Terminal("restore", "--all-pending", "--yes", env=env) as terminal:
        terminal.read(until="/20")
        assert terminal.end() == 0
    assert "Restoring" in terminal.text
    assert terminal.text.rstrip().endswith(
        f"20 restored, 0 already fine, 0 failed, 0 unknown in {here(service)}."
    )
    pending(service)
    with Terminal("restore", "--all-pending", env=env | {"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
    assert ESCAPE not in terminal.raw
    assert "Restoring" not in terminal.raw


# --- Ctrl-C ---


@pytest.mark.parametrize("after", [1, 7, 23])
def test_interrupt(service: LocalCloudHsm, env: dict[str, str], after: int) -> None:
    """Ctrl-C begins nothing new and waits for what is under way; every outcome it reports is true."""
    pending(service, 60)
    service.inject(Fault.DELAY, "RestoreBackup", times=60, seconds=0.05)
    arguments = ("restore", "--all-pending", "--yes", "--workers", "4")
    with Terminal(*arguments, env=env, stdout=subprocess.PIPE) as terminal:
        stdout = terminal.process.stdout
        assert stdout is not None
        lines = [stdout.readline() for _ in range(after)]
        terminal.press("\x03")
        terminal.read(until="unknown")
        lines += stdout.readlines()
        assert terminal.end() == 130
    told = outcomes(b"".join(lines).decode())
    assert len(told) == 60
    assert set(told.values()) == {"restored", "not_tried"}
    for backup_id, outcome in told.items():
        assert (service.backups[backup_id].backup_state == "READY") == (outcome == "restored")
    counted = Counter(told.values())
    summary = " ".join(terminal.text.split())
    assert f"{counted['restored']} restored, 0 already fine, 0 failed, 0 unknown" in summary
    assert f"{counted['not_tried']} not tried" in summary


def test_second_interrupt(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """A second Ctrl-C does not wait: what is under way is unknown, what was not begun is not tried."""
    pending(service, 60)
    service.inject(Fault.DELAY, "RestoreBackup", times=60, seconds=60)
    arguments = ("restore", "--all-pending", "--yes", "--workers", "2", "--output", "json")
    with Terminal(*arguments, env=env, stdout=subprocess.PIPE) as terminal:
        terminal.read(until="0/60")
        while sum(request.operation == "RestoreBackup" for request in service.requests) < 2:
            pass
        terminal.press("\x03")
        terminal.read(until="Stopping")
        terminal.press("\x03")
        assert terminal.process.stdout is not None
        told = {
            each["backup_id"]: valid("record", each)["outcome"] for each in json.load(terminal.process.stdout)
        }
        assert terminal.end() == 130
    assert Counter(told.values()) == {"unknown": 4, "not_tried": 56}
    ready = {backup.backup_id for backup in service.backups.values() if backup.backup_state == "READY"}
    assert ready <= {backup_id for backup_id, outcome in told.items() if outcome == "unknown"}
    assert "interrupted. It may have been restored all the same" in " ".join(terminal.text.split())


def test_interrupt_while_listing(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Ctrl-C while list waits for the service is status 130 and no traceback."""
    service.inject(Fault.DELAY, seconds=60)
    with Terminal("list", env=env) as terminal:
        while not service.requests:
            pass
        terminal.press("\x03")
        assert terminal.end() == 130
    assert terminal.text.replace("^C", "").strip() == "Interrupted."


# --- Exit statuses of their own ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["restore"],
        ["restore", "--all-pending", "backup-a"],
        ["restore", "backup-a", "--tag", "A=b"],
        ["list", "--state", "PENDING"],
        ["list", "--tag", "prod"],
        ["restore", "backup-a2b3c4d5e6f", "--timeout", "nan"],
        ["show", "arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-a2b3c4d5e6f"],
    ],
)
def test_wrong_usage(service: LocalCloudHsm, call: Call, arguments: list[str]) -> None:
    """Wrong usage is status 2, says what is wrong, and calls nothing."""
    ran = call(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert calls(service) == set()


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["list", "--profile", "nobody"], {}),
        (["list"], {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
        (["restore", "backup-a2b3c4d5e6f", "--region", "not a region"], {}),
    ],
)
def test_configuration(call: Call, arguments: list[str], more: dict[str, str]) -> None:
    """An unusable profile, region or missing credentials are status 4, in words."""
    ran = call(*arguments, **more)
    assert (ran.status, ran.out) == (4, "")
    assert ran.err.startswith("Error: ")
    assert "Traceback" not in ran.err


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
        ([], _NO_REGION | {"AWS_REGION": ""}, "Give --region, or set AWS_DEFAULT_REGION."),
        ([], _NO_REGION, "AWS_REGION is set, but boto3 does not read it. Give --region"),
        ([], _NO_KEY, "Give --profile, or set AWS_PROFILE; a profile of IAM Identity Center also needs"),
        ([], {"AWS_SECRET_ACCESS_KEY": ""}, "Set both halves of the key, or give --profile."),
        (["--profile", "nobody"], {}, "`aws configure list-profiles` lists those that there are."),
        (["--profile", "sso"], {}, "Run `aws sso login` with this profile."),
        (["--endpoint-url", "localhost:4566"], {}, "a URL that starts with http:// or https://."),
        (
            ["--region", "not a region"],
            {},
            "Check the region, the profile, the credentials, and the endpoint.",
        ),
    ],
)
def test_configuration_names_the_fix(
    call: Call, tmp_path: Path, arguments: list[str], more: dict[str, str], advice: str
) -> None:
    """What is not configured is status 4, and the message names the option or command that mends it, once."""
    config = tmp_path / "config"
    config.write_text(_SSO)
    ran = call("list", *arguments, **more, AWS_CONFIG_FILE=str(config))
    assert ran.status == 4
    assert advice in ran.err
    assert ("Check the region" in ran.err) == ("Check the region" in advice)
    assert "region not set" not in ran.err


def test_no_region_at_all(env: dict[str, str]) -> None:
    """Without a region there is no place to name, and AWS_REGION is not one that boto3 reads."""
    plain = {name: value for name, value in env.items() if name not in ("AWS_DEFAULT_REGION", "AWS_REGION")}
    del plain["AWS_ENDPOINT_URL_CLOUDHSM_V2"]
    advice = "Give --region, or set AWS_DEFAULT_REGION.\n"
    assert run("list", env=plain).err == f"Error: You must specify a region. {advice}"
    ran = run("list", env=plain | {"AWS_REGION": "us-east-1"})
    assert ran.err.endswith(f" AWS_REGION is set, but boto3 does not read it. {advice}")


PAGE = b"<!DOCTYPE html>\n<html><head><title>Hello</title></head><body>" + b"<p>Please log in.</p>" * 99


@pytest.mark.parametrize(
    "answer",
    [
        http(PAGE, content_type="text/html"),
        http(PAGE, "501 Unsupported method", "text/html"),
        http(PAGE, "403 Forbidden", "text/html"),
        http(b"404 page not found", "404 Not Found", "text/plain"),
        http({"hello": 1}),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["restore", "backup-a2b3c4d5e6f", "--timeout", "0"]])
def test_another_server(raw_server: RawServer, call: Call, command: list[str], answer: bytes) -> None:
    """A web server or a captive portal instead of CloudHSM is called that, and trying again is no advice."""
    answer = re.sub(b"x-amzn-RequestId: .*\r\n", b"", answer)
    ran = call(*command, "--endpoint-url", raw_server.respond(*[answer] * 9))
    assert ran.status in {1, 3}
    assert "This does not look like CloudHSM. Check the endpoint and the proxy, and whether" in ran.err
    assert not re.search("may work if you|[Tt]ry again|Allow cloudhsm", ran.err)
    assert max(map(len, ran.err.splitlines())) < 600


def test_what_stands_in_front_of_aws(service: LocalCloudHsm, call: Call) -> None:
    """A gateway of AWS that has a bad moment is no other server: trying again is the advice, once."""
    service.inject(Fault.UNAVAILABLE_HTML, times=9)
    ran = call("list")
    assert "does not look like" not in ran.err
    assert len(re.findall("again", ran.err)) == 1


def test_refused_credentials(service: LocalCloudHsm, call: Call) -> None:
    """Credentials that the service does not accept are status 4 before anything is tried."""
    service.inject(Fault.EXPIRED_CREDENTIALS)
    ran = call("restore", *pending(service))
    assert (ran.status, ran.out) == (4, "")
    assert calls(service) == {"DescribeBackups"}


# --- What must not be seen ---


def test_secrets(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """No credential and no password of an endpoint is in anything that is written, with --verbose neither."""
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET, "AWS_ACCESS_KEY_ID": SECRET}
    endpoint = service.endpoint_url.replace("//", f"//user:{SECRET}@")
    ids = pending(service, 2)
    service.inject(Fault.ACCESS_DENIED, "RestoreBackup")
    runs = [
        run("restore", *ids, "--yes", "--verbose", "--endpoint-url", endpoint, env=env | secrets),
        run("list", "--verbose", "--endpoint-url", f"http://user:{SECRET}@127.0.0.1:1", env=env | secrets),
    ]
    assert [ran.status for ran in runs] == [1, 1]
    assert f'RestoreBackup {{"BackupId": "{ids[0]}"}}' in runs[0].err
    for ran in runs:
        assert SECRET not in ran.out + ran.err


def test_verbose_shows_every_try(service: LocalCloudHsm, call: Call) -> None:
    """With --verbose every try is there with its answer: HTTP status and error code, or what went wrong."""
    [backup_id] = pending(service)
    service.inject(Fault.THROTTLED, "RestoreBackup")
    service.inject(Fault.DROP_BEFORE_WORK, "RestoreBackup")
    ran = call("--verbose", "restore", backup_id, AWS_MAX_ATTEMPTS="3", AWS_RETRY_MODE="standard")
    tries = [line.split(" ", 2)[2] for line in ran.err.splitlines() if " RestoreBackup" in line]
    asked = f'RestoreBackup {{"BackupId": "{backup_id}"}}'
    assert tries[:6] == [
        asked,
        "RestoreBackup: HTTP 400 ThrottlingException",
        asked,
        "RestoreBackup: ConnectionClosedError",
        asked,
        "RestoreBackup: HTTP 200",
    ]


def test_advice_is_given_once() -> None:
    """Nobody is told twice to try again."""
    for cls in (WaitTimeoutError, RestoreError):
        unsettled = cls("x", operation="RestoreBackup", backup_id="backup-a", outcome_unknown=True)
        assert in_words(unsettled).endswith("anyway. Run the same command again to find out.")
    assert in_words(WaitTimeoutError("x")).endswith("Run the same command again.")


def test_advice_is_something_to_type() -> None:
    """No message tells somebody at a terminal to call a Python function."""
    unsettled = RestoreError("x", operation="RestoreBackup", backup_id="backup-a", outcome_unknown=True)
    assert "()" not in in_words(unsettled)
    for name in cloudhsm_restore.__all__:
        thing = getattr(cloudhsm_restore, name)
        if isinstance(thing, type) and issubclass(thing, RestoreError):
            assert "()" not in in_words(RestoreError(thing.advice))


# --- demo and serve ---


def test_demo_in_a_pipe(tmp_path: Path) -> None:
    """The demo needs nothing around it, says first that no account is touched, and is plain in a pipe."""
    ran = run("demo", env=environment(tmp_path))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("Everything here runs on this machine. No AWS account is touched.\n")
    assert ESCAPE not in ran.out
    assert (
        "    InvalidRequestError\n    RestoreBackup backup-a2b3c4d5e6f: CloudHsmInvalidRequestException: "
        in ran.out
    )
    assert "    ResourceNotFoundError\n    RestoreBackup backup-7777777zzzz: " in ran.out
    assert ran.out.rstrip().splitlines()[-2] == "    <BackupState.READY: 'READY'>"
    injected = "Fault injected: RestoreBackup will do its work, and its answer is dropped.\n"
    assert ran.out.count("    'PENDING_DELETION'\n") == 3
    assert ran.out.count(f"    'PENDING_DELETION'\n{injected}") == 2


def test_demo_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal of 80 columns the demo fits, in colours."""
    with Terminal("demo", env=environment(tmp_path)) as terminal:
        assert terminal.end() == 0
    assert max(map(len, terminal.text.splitlines())) <= 80
    assert f"{ESCAPE}[1;31mInvalidRequestError" in terminal.raw


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_serve(tmp_path: Path, ended_by: signal.Signals) -> None:
    """serve prints one line that points any AWS tool at it, and Ctrl-C or SIGTERM ends it cleanly."""
    with subprocess.Popen(
        [*CLI, "serve", "--pending", "2", "--region", "eu-west-1"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout is not None
        line = served.stdout.readline()
        script = f"{line} {shlex.join(CLI)} restore --all-pending --yes"
        if ended_by is signal.SIGINT:
            assert len(records(run("-c", script, env=environment(tmp_path), python=("bash",)).out)) == 2
        served.send_signal(ended_by)
        out, err = served.communicate(timeout=60)
        assert (served.returncode, out) == (0, "")
        names = [word.partition("=")[0] for word in shlex.split(line)[1:]]
        assert err.splitlines()[-1] == shlex.join(["unset", *names])
        assert "Traceback" not in err


def test_serve_as_the_documentation_shows_it(tmp_path: Path) -> None:
    """Without --port it is 4566, or any if that is taken; its first backup has the tag of the README."""
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has it, which is as good
            taken.bind(("127.0.0.1", 4566))
            taken.listen()
        with serving(tmp_path) as environ:
            assert environ["AWS_ENDPOINT_URL_CLOUDHSM_V2"] != "http://127.0.0.1:4566"
            listed = run("list", "--tag", "Env=prod", env=environment(tmp_path, **environ))
            assert json.loads(listed.out)["backup_id"] == "backup-a2b3c4d5e6f"
    with closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 4566)) == 0:
            pytest.skip("somebody else listens on port 4566")
    with serving(tmp_path) as environ:
        assert environ["AWS_ENDPOINT_URL_CLOUDHSM_V2"] == "http://127.0.0.1:4566"


@contextmanager
def serving(home: Path) -> Generator[dict[str, str]]:
    with subprocess.Popen(
        [*CLI, "serve"], env=environment(home), stdout=subprocess.PIPE, text=True
    ) as served:
        assert served.stdout is not None
        try:
            exported = shlex.split(served.stdout.readline())[1:]
            yield dict(word.split("=", 1) for word in exported)
        finally:
            served.send_signal(signal.SIGINT)


def test_serve_on_a_port_that_is_taken(service: LocalCloudHsm, tmp_path: Path) -> None:
    """A port that is taken is status 4, in words."""
    ran = run("serve", "--port", service.endpoint_url.rpartition(":")[2], env=environment(tmp_path))
    assert ran.status == 4
    assert "Cannot listen on 127.0.0.1:" in ran.err


# --- Start-up, completion, the extra ---

_IMPORTED = """
import sys
{run}
sys.stderr.write("\\n".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def imported(code: str, env: dict[str, str]) -> set[str]:
    return set(run(_IMPORTED.format(run=code), env=env, python=(sys.executable, "-c")).err.split())


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["--help"], {}),
        (["restore", "--help"], {}),
        (["--version"], {}),
        (
            [],
            {"_CLOUDHSM_RESTORE_COMPLETE": "bash_complete", "COMP_WORDS": "x restore --", "COMP_CWORD": "2"},
        ),
    ],
)
def test_light_commands_import_little(tmp_path: Path, arguments: list[str], more: dict[str, str]) -> None:
    """Help, version and completion import neither boto3, botocore and pydantic nor rich."""
    env = environment(tmp_path, **more)
    code = f"""
import atexit
sys.argv = ["cloudhsm-restore", *{arguments!r}]
from cloudhsm_restore.__main__ import main
try:
    main()
except SystemExit:
    pass
"""
    heavy = {"boto3", "rich", "botocore", "pydantic", "s3transfer", "markdown_it", "pygments"}
    assert not imported(code, env) & heavy


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(tmp_path: Path, shell: str) -> None:
    """There is a script for each shell, and it is one."""
    script = run("completion", shell, env=environment(tmp_path)).out
    assert "_CLOUDHSM_RESTORE_COMPLETE" in script
    if shell == "bash":
        assert run("-n", env=environment(tmp_path), stdin=script, python=("bash",)).status == 0


def test_completion_completes(tmp_path: Path) -> None:
    """The shell is offered commands and options."""
    asked = {
        "_CLOUDHSM_RESTORE_COMPLETE": "bash_complete",
        "COMP_WORDS": "x restore --all",
        "COMP_CWORD": "2",
    }
    ran = run(env=environment(tmp_path, **asked))
    assert ran.out.split() == ["plain,--all-pending"]


def test_interrupt_while_starting(tmp_path: Path) -> None:
    """Ctrl-C while the command line is still being imported is status 130 and no traceback."""
    code = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "click.core":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from cloudhsm_restore.__main__ import main
sys.exit(main())
"""
    ran = run(code, env=environment(tmp_path), python=(sys.executable, "-c"))
    assert (ran.status, ran.out, ran.err) == (130, "", "Interrupted.\n")


def test_without_the_extra(tmp_path: Path) -> None:
    """Without click or rich there is one line, which says what to install."""
    code = (
        "import sys; sys.modules['rich'] = None; from cloudhsm_restore.__main__ import main; sys.exit(main())"
    )
    ran = run(code, env=environment(tmp_path), python=(sys.executable, "-c"))
    assert (ran.status, ran.out) == (4, "")
    assert ran.err == "The command line needs an extra: pip install 'cloudhsm-restore[cli]'\n"
