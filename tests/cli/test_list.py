"""``list`` and ``show``: what they select, how it looks, and in which regions."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.credentials import ReadOnlyCredentials

from cloudhsm_restore import Backup, BackupState
from cloudhsm_restore.cli._options import STATES
from cloudhsm_restore.cli._output import format_time_left
from cloudhsm_restore.cli._report import Outcome
from cloudhsm_restore.testing import Fault, LocalCloudHsm

from ..raw_server import RawServer, error_response
from ..terminal import Terminal, environment, run, write_regions
from .helpers import ESCAPE, SCHEMA, Call, here, outcomes, pending, states, valid


def listed(text: str) -> list[str]:
    """Return the IDs in JSON Lines."""
    return [valid("backup", json.loads(line))["backup_id"] for line in text.splitlines()]


def test_schema_names_all_fields_and_outcomes() -> None:
    """The published schema has every field of a backup and every outcome."""
    assert set(SCHEMA["$defs"]["backup"]["required"]) == set(Backup.model_fields)
    named = SCHEMA["$defs"]["record"]["properties"]["outcome"]["oneOf"]
    assert [each["const"] for each in named] == list(Outcome)


def test_json_lines_in_a_pipe(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """In a pipe, list writes the pending backups as JSON Lines, earliest deletion first, and nothing else."""
    late, soon = (pending(service, delete_timestamp=service.now + timedelta(days=days))[0] for days in (6, 1))
    service.add_backup()
    ran = run("list", env=env)
    assert listed(ran.out) == [soon, late]
    assert (ran.status, ran.err) == (0, "")
    assert Backup.model_validate(json.loads(ran.out.splitlines()[0])) == service.backups[soon]


def test_json(service: LocalCloudHsm, call: Call) -> None:
    """With --output json, list writes an array and show an object."""
    backup_id = pending(service)[0]
    [item] = json.loads(call("list", "-o", "json").out)
    shown = json.loads(call("--output", "json", "show", backup_id).out)
    assert valid("backup", item) == valid("backup", shown)
    assert shown["backup_id"] == backup_id


def test_filters(service: LocalCloudHsm, call: Call) -> None:
    """--cluster, --tag, --state and --all select; with several tags a backup needs all of them."""
    tags = [{"Key": "Env", "Value": "prod"}, {"Key": "Team", "Value": "a=b"}]
    wanted = pending(service, tag_list=tags, cluster_id="cluster-bbbbbbbbbbb")[0]
    pending(service, tag_list=tags[:1], cluster_id="cluster-bbbbbbbbbbb")
    pending(service, tag_list=tags)
    ready = service.add_backup().backup_id

    def found(*arguments: str) -> set[str]:
        return set(listed(call("list", *arguments).out))

    assert found("--cluster", "cluster-bbbbbbbbbbb", "--tag", "Env=prod", "--tag", "Team=a=b") == {wanted}
    assert found("--state", "ready") == {ready}
    assert found("--all") == set(service.backups)


def test_time_windows(service: LocalCloudHsm, call: Call) -> None:
    """--deleted-after and --deleted-before select by the time of deletion, which is 7 days before the end."""
    week = timedelta(days=7)
    old, recent, new = (
        pending(service, delete_timestamp=service.now + week - timedelta(hours=hours))[0]
        for hours in (80, 10, 1)
    )
    service.add_backup()
    at = (service.now - timedelta(hours=5)).isoformat()
    for arguments, expected in (
        (["--deleted-after", "12h"], [recent, new]),
        (["--deleted-after", "3d"], [recent, new]),
        (["--deleted-before", "720m"], [old]),
        (["--deleted-after", "4d", "--deleted-before", at], [old, recent]),
        (["--all", "--deleted-after", at], [new]),
        (["--deleted-before", "1999-12-31"], []),
    ):
        assert listed(call("list", *arguments).out) == expected, arguments
    ran = call(
        "restore", "--all-pending", "--deleted-after", "12h", "--deleted-before", at.replace("+00:00", "")
    )
    assert outcomes(ran.out) == {recent: "restored"}
    assert states(service) == {"PENDING_DELETION": 2, "READY": 2}


@pytest.mark.parametrize(
    "value", ["yesterday", "2h ago", "-2h", "99999999999d", "0001-01-01T00:00+23:00", ""]
)
def test_invalid_time(call: Call, value: str) -> None:
    """A value that is neither a time nor a duration is status 2."""
    ran = call("list", "--deleted-after", value)
    assert ran.status == 2
    assert f"Invalid value for '--deleted-after': {value!r} is neither a time such as" in ran.err


@pytest.mark.parametrize("arguments", [["--help"], ["restore", "--help"]])
def test_help_says_what_the_time_of_deletion_is(env: dict[str, str], arguments: list[str]) -> None:
    """The help of both commands says how the time of deletion is computed."""
    text = " ".join(run("list" if arguments == ["--help"] else "restore", "--help", env=env).out.split())
    assert "Computed as the time of permanent deletion minus 7 days." in text


# --- Tables ---


TAGS = [{"Key": "Name", "Value": "payments"}, {"Key": "Evil", "Value": f"{ESCAPE}[2J"}]


@pytest.mark.parametrize("columns", [80, 160])
def test_one_line_for_each_backup(service: LocalCloudHsm, env: dict[str, str], columns: int) -> None:
    """On a terminal each backup is one line that fits, without a broken ID; under 24 hours are red."""
    soon = pending(service, delete_timestamp=service.now + timedelta(hours=3, seconds=30), tag_list=TAGS)[0]
    late = pending(service, cluster_id="cluster-ccccccccccc")[0]
    with Terminal("list", env=env, columns=columns) as terminal:
        assert terminal.end() == 0
    header, first, second, blank, *_ = terminal.text.splitlines()
    assert max(map(len, (header, first, second))) <= columns
    assert header.split("  ")[0] == "ID"
    assert (first.split()[0], second.split()[0], blank) == (soon, late, "")
    assert re.search(rf"{ESCAPE}\[31m3 h 0 min *{ESCAPE}\[0m", terminal.raw)
    assert f"{ESCAPE}[2J" not in terminal.raw
    assert "cluster-ccccccccccc" in second
    assert "6 d 23 h" in second
    assert "Name=payments" in first
    wide = ("2026-01-02 03:04", "hsm1.medium", "FIPS")
    assert all(part in first for part in wide) == (columns == 160)
    assert f"2 in account 111122223333, {here(service)}.\nTo restore a backup: " in terminal.text


def test_long_tags_are_cropped(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """Tags that do not fit are cropped, also between wide characters, and take no other column's place."""
    pending(service, tag_list=[{"Key": "名前", "Value": "支払い" * 30}], cluster_id="cluster-ccccccccccc")
    with Terminal("list", "--all", env=env) as terminal:
        assert terminal.end() == 0
    line = terminal.text.splitlines()[1]
    assert line.endswith("…")
    assert "PENDING_DELETION" in line
    assert "cluster-ccccccccccc" in line
    assert sum(2 if ord(char) > 0x2FFF else 1 for char in line) <= 80


@pytest.mark.parametrize("columns", [0, 1, 20, 40])
@pytest.mark.parametrize("command", [["list"], ["restore", "--yes"], ["restore", "--dry-run"]])
def test_narrow_terminals(
    service: LocalCloudHsm, env: dict[str, str], command: list[str], columns: int
) -> None:
    """However narrow the terminal is, the ID and the outcome or the time left are shown, folded if needed."""
    ids = pending(service, 2, tag_list=[{"Key": "Name", "Value": "payments " * 9}])
    more = [] if command == ["list"] else ids
    with Terminal(*command, *more, env=env, columns=columns) as terminal:
        assert terminal.end() == 0
    end = terminal.text.index("2 in account" if command == ["list"] else "\n\n")
    table = terminal.text[:end]
    key = "6 d 23 h" if command == ["list"] else "restored"
    for part in (*ids, key):
        assert "".join(part.split()) in "".join(table.split())
    assert max(map(len, table.splitlines())) <= (columns or 80)


@pytest.mark.parametrize(
    ("more", "arguments"), [({"NO_COLOR": "1"}, []), ({"TERM": "dumb"}, []), ({}, ["--no-color"])]
)
def test_no_colors(
    service: LocalCloudHsm, env: dict[str, str], more: dict[str, str], arguments: list[str]
) -> None:
    """With NO_COLOR, --no-color or a dumb terminal no escape sequence is written."""
    pending(service, delete_timestamp=service.now + timedelta(hours=3))
    with Terminal("list", *arguments, env=env | more) as terminal:
        assert terminal.end() == 0
    assert ESCAPE not in terminal.raw


def test_time_left() -> None:
    """The time left is rounded down, and never looks longer than it is."""
    left = [timedelta(days=6, hours=23, minutes=59), timedelta(hours=23, minutes=59), timedelta(seconds=119)]
    assert [format_time_left(each) for each in left] == ["6 d 23 h", "23 h 59 min", "1 min"]
    assert format_time_left(timedelta(seconds=-1)) == "any moment"
    assert format_time_left(None) == "-"


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (100, "ID, Time left, Cluster, State, Tags, HSM type"),
        (80, "ID, Time left, Cluster, State, Tags"),
        (72, "ID, Time left, Cluster, Tags, Mode"),
        (50, "ID, Time left, Cluster"),
        (40, "ID, Time left, Tags"),
        (30, "ID, Time left"),
    ],
)
def test_columns_that_are_dropped(
    service: LocalCloudHsm, env: dict[str, str], columns: int, shown: str
) -> None:
    """ID, time left, cluster and tags stay longest."""
    pending(service, tag_list=[{"Key": "Name", "Value": "payments"}])
    with Terminal("list", "--all", env=env, columns=columns) as terminal:
        assert terminal.end() == 0
    assert ", ".join(re.split("  +", terminal.text.splitlines()[0])) == shown


# --- Nothing found, and monitoring ---


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "No backups found in state PENDING_DELETION in account unknown, region eu-central-1, endpoint "),
        (["--all"], "No backups found in account unknown, region"),
        (["--all", "--tag", "X=y"], "No backups found that match the filters in account"),
        (["--tag", "X=y"], "No backups found in state PENDING_DELETION that match the filters in account"),
        (["--state", "READY", "--state", "DELETED"], "No backups found in state READY or DELETED in account"),
    ],
)
def test_empty_list(call: Call, arguments: list[str], text: str) -> None:
    """An empty list names what was listed, where, because that may be wrong, and what else to try."""
    ran = call("--region", "eu-west-1", "list", "--region", "eu-central-1", *arguments)
    assert (ran.status, ran.out) == (0, "")
    assert text in ran.err
    assert ("Also try list --all or list --all-regions." in ran.err) == ("--all" not in arguments)


@pytest.mark.skipif(
    "account_id" not in ReadOnlyCredentials._fields, reason="older versions of botocore do not read it"
)
def test_account_of_the_credentials(call: Call) -> None:
    """If no backup shows the account, it is the one that the credentials state."""
    assert "in account 444455556666, region" in call("list", AWS_ACCOUNT_ID="444455556666").err


def test_exit_code(service: LocalCloudHsm, call: Call) -> None:
    """With --exit-code, the status is 5 if backups are pending deletion, and otherwise 0."""
    service.add_backup()
    assert call("list", "--exit-code").status == 0
    assert call("list", "--all", "--exit-code").status == 0
    pending(service)
    assert call("list", "--exit-code").status == 5
    assert call("list", "--state", "READY", "--exit-code").status == 0
    assert call("list").status == 0
    service.inject(Fault.ACCESS_DENIED)
    assert call("list", "--exit-code").status == 1


# --- All regions ---


@pytest.fixture
def abroad() -> Iterator[LocalCloudHsm]:
    """The service of a second region."""
    with LocalCloudHsm(region_name="eu-west-1") as service:
        yield service


@pytest.fixture
def regional_env(
    service: LocalCloudHsm, abroad: LocalCloudHsm, raw_server: RawServer, tmp_path: Path
) -> dict[str, str]:
    """Two regions with a service each, one that is not enabled, and one whose endpoint cannot be reached."""
    regions = {
        "us-east-1": service.endpoint_url,
        "eu-west-1": abroad.endpoint_url,
        "me-south-1": raw_server.respond(error_response("UnrecognizedClientException")),
        "ap-east-1": "http://127.0.0.1:1",
    }
    write_regions(tmp_path, regions)
    kept = {name: value for name, value in service.environ.items() if "ENDPOINT" not in name}
    return environment(tmp_path, **kept, AWS_MAX_ATTEMPTS="1")


def test_all_regions(service: LocalCloudHsm, abroad: LocalCloudHsm, regional_env: dict[str, str]) -> None:
    """list --all-regions lists each region; restore - restores each backup in its own region, by its ARN."""
    ids = [*pending(service, 2), *pending(abroad, 2)]
    ran = run("list", "--all-regions", env=regional_env)
    assert set(listed(ran.out)) == set(ids)
    not_listed, not_enabled = sorted(ran.err.splitlines())
    assert not_enabled == "me-south-1: not enabled in this account (UnrecognizedClientException)."
    assert not_listed.startswith("ap-east-1: DescribeBackups: Could not connect")
    assert ran.status == 1
    restored = run("restore", "-", "--yes", env=regional_env, stdin=ran.out)
    assert (restored.status, outcomes(restored.out)) == (0, dict.fromkeys(ids, "restored"))
    assert states(service) == states(abroad) == {"READY": 2}
    assert f"{here(service)}, region eu-west-1, endpoint {abroad.endpoint_url})" in restored.err
    again = run("restore", "-", "--yes", env=regional_env, stdin=restored.out)
    assert (again.status, outcomes(again.out)) == (0, dict.fromkeys(ids, "already_restored"))


def test_all_regions_on_a_terminal(
    service: LocalCloudHsm, abroad: LocalCloudHsm, regional_env: dict[str, str]
) -> None:
    """On a terminal, the table of all regions names the region of each backup."""
    pending(service)
    pending(abroad)
    with Terminal("list", "--all-regions", env=regional_env) as terminal:
        assert terminal.end() == 1
    header, *rows = terminal.text[terminal.text.index("ID  ") :].splitlines()
    assert header.split()[:5] == ["ID", "Time", "left", "Cluster", "Region"]
    assert {row.split()[6] for row in rows[:2]} == {"eu-west-1", "us-east-1"}


def test_region_that_is_not_enabled(
    service: LocalCloudHsm, raw_server: RawServer, tmp_path: Path, env: dict[str, str]
) -> None:
    """A region that is not enabled is not a failure; but an error that all regions return is one."""
    other = raw_server.respond(*[error_response("UnrecognizedClientException")] * 2)
    write_regions(tmp_path, {"us-east-1": service.endpoint_url, "eu-west-1": other})
    plain = {name: value for name, value in env.items() if "ENDPOINT" not in name}
    ran = run("list", "--all-regions", env=plain)
    assert (ran.status, len(ran.err.splitlines())) == (0, 2)
    assert "No backups found in state PENDING_DELETION in account unknown" in ran.err
    assert "Also try" not in ran.err
    pending(service)
    assert run("list", "--all-regions", "--exit-code", env=plain).status == 5
    raw_server.respond(*[error_response("ExpiredTokenException")] * 9)
    service.inject(Fault.EXPIRED_CREDENTIALS, times=9)
    ran = run("list", "--all-regions", env=plain)
    assert (ran.status, len(ran.err.splitlines())) == (4, 2)


def test_all_regions_with_one_endpoint(service: LocalCloudHsm, call: Call) -> None:
    """If all regions have one endpoint, as with a local service, it is listed once."""
    ids = pending(service)
    ran = call("list", "--all-regions")
    assert listed(ran.out) == ids
    assert len(service.requests) == 1


# --- show ---


def test_show_on_a_terminal(service: LocalCloudHsm, env: dict[str, str]) -> None:
    """show has every field of the backup, and how long is left; an ARN selects it as well."""
    backup_id = pending(service, tag_list=TAGS[:1])[0]
    arn = str(service.backups[backup_id].backup_arn)
    with Terminal("show", arn, env=env, columns=70) as terminal:
        assert terminal.end() == 0
    lines = {tuple(line.split()) for line in terminal.text.splitlines()}
    assert lines >= {
        ("backup", "id", backup_id),
        ("backup", "arn", arn),
        ("backup", "state", "PENDING_DELETION"),
        ("time", "left", "6", "d", "23", "h"),
        ("tags", "Name=payments"),
        ("mode", "FIPS"),
        ("never", "expires", "no"),
        ("copy", "timestamp", "-"),
    }


def test_show_unknown_backup(service: LocalCloudHsm, call: Call) -> None:
    """An unknown ID is status 1, and the message has the ID and the target."""
    ran = call("show", "backup-7777777zzzz")
    assert (ran.status, ran.out) == (1, "")
    assert "backup-7777777zzzz" in ran.err
    assert ran.err.endswith(f"\nTarget: account unknown, {here(service)}.\n")


def test_states_are_those_of_the_library() -> None:
    """The states that --state accepts and completes are those that the library knows."""
    assert tuple(BackupState) == STATES
