"""RestoreClient: made as boto3 makes clients, and thin from there on."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import boto3
import pytest
from botocore.config import Config
from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

from cloudhsm_restore import (
    BackupState,
    ConfigurationError,
    ParameterError,
    ResourceNotFoundError,
    RestoreClient,
    UnexpectedResponseError,
    __version__,
)
from cloudhsm_restore.testing import LocalCloudHsm

from .clients import config
from .conftest import MakeClient, connections
from .raw_server import BACKUP_ID, RESTORED, RawServer, http, wire_backup

# --- Construction ---


@pytest.mark.usefixtures("credentials")
def test_a_client_of_the_environment(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, credentials, region and endpoint come from where boto3 looks for them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDHSM_V2", service.endpoint_url)
    backup = service.add_backup(backup_state=BackupState.PENDING_DELETION)
    with RestoreClient() as client:
        assert client.restore_backup(backup.backup_id).backup_state is BackupState.READY


def test_a_client_of_a_session(service: LocalCloudHsm) -> None:
    """A session brings its own credentials and region."""
    session = boto3.Session("a", "b", region_name="eu-central-1")
    with RestoreClient(session=session, endpoint_url=service.endpoint_url) as client:
        assert list(client.describe_backups()) == []


def test_a_ready_client(service: LocalCloudHsm) -> None:
    """A ready boto3 client is used as it is, and stays open when ours is closed."""
    theirs = service.boto3_client()
    with RestoreClient(theirs) as client:
        assert list(client.describe_backups()) == []
    assert connections(service) == 1
    assert theirs.describe_backups()["Backups"] == []
    theirs.close()


@pytest.mark.parametrize(
    "other",
    [
        {"session": boto3.Session()},
        {"region_name": "us-east-1"},
        {"endpoint_url": "http://x"},
        {"config": Config()},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_ready_client_and_something_else(service: LocalCloudHsm, other: dict[str, Any]) -> None:
    """A ready client together with what a client is made of is a TypeError."""
    theirs = service.boto3_client()
    with pytest.raises(TypeError, match="pass either client, or session"):
        RestoreClient(theirs, **other)
    theirs.close()


@pytest.mark.parametrize("wrong", ["us-east-1", object(), boto3.client("sts", region_name="us-east-1")])
def test_what_is_no_client(wrong: Any) -> None:
    """Anything but a cloudhsmv2 client is a TypeError at once, not at three in the morning."""
    with pytest.raises(TypeError, match="must be a boto3 cloudhsmv2 client"):
        RestoreClient(wrong)


def test_what_is_no_session() -> None:
    """A profile's name is no session, and the message says how to make one of it."""
    wrong: Any = "prod"
    with pytest.raises(TypeError, match=r"not 'prod'; .*boto3\.Session\(profile_name="):
        RestoreClient(session=wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"region_name": "no region\n"},
        {"region_name": "us-east-1", "endpoint_url": "nowhere"},
        {"region_name": "us-east-1", "endpoint_url": "http://[::bad"},
        {"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:99999"},
    ],
    ids=["no region", "bad region", "no URL", "bad URL", "bad port"],
)
def test_what_no_client_can_be_made_of(arguments: dict[str, Any]) -> None:
    """A region or an endpoint that cannot be used is a ConfigurationError when the client is made."""
    with pytest.raises(ConfigurationError) as caught:
        RestoreClient(**arguments)
    assert caught.value.operation is None
    assert not caught.value.outcome_unknown


@pytest.mark.usefixtures("credentials")
def test_an_unknown_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that does not exist is a ConfigurationError that names it."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigurationError, match="nobody"):
        RestoreClient()


def test_a_scheme_that_nobody_speaks(make_client: MakeClient) -> None:
    """An endpoint of another scheme is a ConfigurationError: nothing was sent."""
    with pytest.raises(ConfigurationError) as caught:
        make_client("ftp://127.0.0.1").restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown


def test_it_says_who_it_is(raw_server: RawServer, make_client: MakeClient) -> None:
    """A client that we made ends its user agent with our name and version, after the user's own."""
    client = make_client(raw_server.answer(RESTORED), user_agent_extra="incident/42")
    client.restore_backup(BACKUP_ID)
    [agent] = [
        line for line in raw_server.requests[0].split(b"\r\n") if line.lower().startswith(b"user-agent:")
    ]
    assert agent.endswith(f" incident/42 cloudhsm-restore/{__version__}".encode())


@pytest.mark.usefixtures("credentials")
def test_no_other_setting_is_changed(make_client: MakeClient) -> None:
    """The user's config is left as it is."""
    client = make_client(
        "http://127.0.0.1:1", read_timeout=11, max_pool_connections=3, retries={"mode": "adaptive"}
    )
    ours = vars(client._client.meta.config)
    session = boto3.Session()
    options: dict[str, Any] = {
        "read_timeout": 11,
        "connect_timeout": 2,
        "max_pool_connections": 3,
        "proxies": {},
    }
    plain: CloudHSMV2Client = session.client(
        "cloudhsmv2",
        endpoint_url="http://127.0.0.1:1",
        config=Config(retries={"mode": "adaptive"}, **options),
    )
    theirs = vars(plain.meta.config)
    different = {name for name, value in theirs.items() if ours.get(name) != value}
    assert {name for name in different if not name.startswith("_")} <= {"user_agent"}  # aiobotocore's own


@pytest.mark.usefixtures("credentials")
def test_settings_that_came_late_or_from_the_session_stay(raw_server: RawServer) -> None:
    """A Config whose attributes were set later, and a session's own default, count as with boto3 itself."""
    options: Any = config()
    options.read_timeout = 3
    with RestoreClient(endpoint_url=raw_server.answer(RESTORED), config=options) as client:
        made: Any = client._client.meta.config
        assert made.read_timeout == 3
    session = boto3.Session()
    inner: Any = vars(session)["_session"]
    inner.set_default_client_config(config(user_agent_extra="theirs/1"))
    with RestoreClient(session=session, endpoint_url=raw_server.url) as client:
        client.restore_backup(BACKUP_ID)
    assert f" theirs/1 cloudhsm-restore/{__version__}\r\n".encode() in raw_server.requests[0]


@pytest.mark.usefixtures("credentials")
def test_the_timeouts_of_a_defaults_mode_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Config we give boto3 none either: with any, it forgets the timeouts of a defaults mode."""
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "standard")
    session = boto3.Session()
    plain: CloudHSMV2Client = session.client("cloudhsmv2", endpoint_url="http://127.0.0.1:1")
    any_config: CloudHSMV2Client = session.client(
        "cloudhsmv2", endpoint_url="http://127.0.0.1:1", config=Config(parameter_validation=False)
    )
    with RestoreClient(session=session, endpoint_url="http://127.0.0.1:1") as client:
        made: Any = client._client.meta.config
        theirs: Any = plain.meta.config
        forgotten: Any = any_config.meta.config
    assert made.connect_timeout == theirs.connect_timeout < forgotten.connect_timeout


def test_close_closes_what_is_ours(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """After close, no connection of a client that we made is left."""
    with make_client(service.endpoint_url) as client:
        list(client.describe_backups())
        assert connections(service) == 1
    deadline = threading.Event()
    for _ in range(100):
        if connections(service) == 0:
            break
        deadline.wait(0.02)
    assert connections(service) == 0


# --- Calls ---


def test_restore_backup_is_one_call(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A restore is one RestoreBackup and nothing else, and brings the backup as it is now."""
    backup = service.add_backup(
        backup_state="PENDING_DELETION", tag_list=[{"Key": "team", "Value": "payments"}]
    )
    restored = make_client(service.endpoint_url).restore_backup(backup.backup_id)
    assert [request.operation for request in service.requests] == ["RestoreBackup"]
    assert restored == service.backups[backup.backup_id]
    assert (restored.backup_state, restored.delete_timestamp) == (BackupState.READY, None)
    assert restored.tags == {"team": "payments"}


def test_get_backup(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """``get_backup`` finds one backup in any state, and knows when there is none."""
    client = make_client(service.endpoint_url)
    for state in BackupState:
        backup = service.add_backup(backup_state=state)
        assert client.get_backup(backup.backup_id) == backup
    with pytest.raises(ResourceNotFoundError) as caught:
        client.get_backup("backup-nowhere")
    assert caught.value.backup_id == "backup-nowhere"
    assert caught.value.operation == "DescribeBackups"


def test_get_backup_looks_for_the_id_itself(raw_server: RawServer, make_client: MakeClient) -> None:
    """A service that ignores the filter, and pages, cannot pass another backup off as the one."""
    other = wire_backup(BackupId="backup-7777777zzzz")
    client = make_client(
        raw_server.answer(
            http({"Backups": [other], "NextToken": "1"}),
            http({"Backups": [], "NextToken": "2"}),
            http({"Backups": [other, wire_backup()]}),
            http({"Backups": [other]}),
        )
    )
    assert client.get_backup(BACKUP_ID).backup_id == BACKUP_ID
    with pytest.raises(UnexpectedResponseError, match="1 other backups"):
        client.get_backup(BACKUP_ID)


@pytest.mark.parametrize("answer", [{}, {"Backups": None}, {"Backups": [None]}, [], None, "x"])
def test_no_list_is_not_an_empty_list(raw_server: RawServer, make_client: MakeClient, answer: object) -> None:
    """An answer without a list is unexpected: it does not mean that there is no such backup."""
    client = make_client(raw_server.answer(http(answer), http(answer)))
    with pytest.raises(UnexpectedResponseError):
        client.get_backup(BACKUP_ID)
    with pytest.raises(UnexpectedResponseError):
        list(client.describe_backups())


def test_describe_backups_is_lazy(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Pages are asked for only when they are reached."""
    made = {service.add_backup().backup_id for _ in range(120)}
    iterator = make_client(service.endpoint_url).describe_backups()
    assert len(service.requests) == 0
    first = list(islice(iterator, 50))
    assert len(service.requests) == 1
    rest = list(iterator)
    assert len(service.requests) == 3
    assert {backup.backup_id for backup in first + rest} == made
    assert len(first + rest) == 120


def test_describe_backups_asks_once_per_state(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Several states are asked for one by one, for the service honours one per call; a repeated one once."""
    for state in (BackupState.READY, BackupState.PENDING_DELETION, BackupState.DELETED):
        service.add_backup(backup_state=state)
    found = make_client(service.endpoint_url).describe_backups(
        states=[BackupState.PENDING_DELETION, "READY", "READY"]
    )
    assert [backup.backup_state for backup in found] == ["PENDING_DELETION", "READY"]
    assert len(service.requests) == 2


def test_a_state_that_aws_added_later(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A state that this version does not know is given as a BackupState; a string is a misspelling."""
    archived = service.add_backup(backup_state="ARCHIVED")
    client = make_client(service.endpoint_url)
    with pytest.raises(
        ParameterError, match=r"unknown state 'ARCHIVED'; expected one of .* pass BackupState\('ARCHIVED'\)"
    ):
        client.describe_backups(states=["ARCHIVED"])
    [found] = client.describe_backups(states=[BackupState("ARCHIVED")])
    assert found.backup_id == archived.backup_id


def test_describe_backups_filters(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Every filter reaches the service, alone and together with others; a generator will do."""
    a = service.add_backup(cluster_id="cluster-aaaaaaaaaaa", never_expires=True).backup_id
    b = service.add_backup(cluster_id="cluster-bbbbbbbbbbb", source_backup=a).backup_id
    client = make_client(service.endpoint_url)

    def found(**filters: Any) -> set[str]:
        return {backup.backup_id for backup in client.describe_backups(**filters)}

    assert found() == {a, b}
    assert found(backup_ids=[a]) == {a}
    assert found(backup_ids=(each for each in (a, b))) == {a, b}
    assert found(cluster_ids=["cluster-bbbbbbbbbbb"]) == {b}
    assert found(source_backup_ids=[a]) == {b}
    assert found(never_expires=True) == {a}
    assert found(never_expires=False) == {b}
    assert found(never_expires=True, cluster_ids=["cluster-bbbbbbbbbbb"]) == set()
    assert found(states=["READY"], backup_ids=[b]) == {b}


@pytest.mark.parametrize(
    "filters",
    [
        {"states": "READY"},
        {"states": BackupState.READY},
        {"states": ["pending_deletion"]},
        {"states": ["READY", "PENDING"]},
        {"backup_ids": "backup-1"},
        {"cluster_ids": 5},
        {"backup_ids": [""]},
        {"source_backup_ids": [None]},
        {"never_expires": "yes"},
    ],
)
def test_filters_that_cannot_be_used(
    make_client: MakeClient, raw_server: RawServer, filters: dict[str, Any]
) -> None:
    """A wrong filter is a ParameterError at once, before the iteration."""
    client = make_client(raw_server.url)
    with pytest.raises(ParameterError) as caught:
        client.describe_backups(**filters)
    assert next(iter(filters)) in str(caught.value)


def test_a_token_that_leads_nowhere(raw_server: RawServer, make_client: MakeClient) -> None:
    """A service that gives the same NextToken again does not make us ask for ever."""
    page = http({"Backups": [wire_backup()], "NextToken": "again"})
    iterator = make_client(raw_server.answer(page, page, page)).describe_backups()
    with pytest.raises(UnexpectedResponseError, match="NextToken"):
        list(iterator)


def test_64_threads_share_a_client(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Threads that share a client get each its own answer, and its own doubt."""
    ids = [service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(640)]
    patient = {"connect_timeout": 60, "read_timeout": 60}  # the machine may be busy
    client = make_client(service.endpoint_url, max_pool_connections=64, **patient)
    with ThreadPoolExecutor(64) as pool:
        restored = list(pool.map(client.restore_backup, ids))
    assert [backup.backup_id for backup in restored] == ids
    assert {backup.backup_state for backup in restored} == {BackupState.READY}


# --- The log ---


def test_a_restore_is_one_line_in_the_log(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One INFO line per restore, with backup ID, state and request ID in the text and as fields."""
    caplog.set_level(logging.DEBUG, "cloudhsm_restore")
    backup = service.add_backup(backup_state="PENDING_DELETION")
    make_client(service.endpoint_url).restore_backup(backup.backup_id)
    [record] = [record for record in caplog.records if record.name == "cloudhsm_restore"]
    fields = vars(record)
    assert record.levelno == logging.INFO
    assert fields["cloudhsm_operation"] == "RestoreBackup"
    assert fields["cloudhsm_backup_id"] == backup.backup_id
    assert fields["cloudhsm_backup_state"] == "READY"
    assert fields["cloudhsm_request_id"]
    for field in ("operation", "backup_id", "backup_state", "request_id"):
        assert str(fields[f"cloudhsm_{field}"]) in record.getMessage()


def test_nothing_is_printed(
    service: LocalCloudHsm, make_client: MakeClient, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a logging configuration the library is silent, in success and in failure."""
    client = make_client(service.endpoint_url)
    backup = service.add_backup(backup_state="PENDING_DELETION")
    client.restore_backup(backup.backup_id)
    client.ensure_restored(backup.backup_id)
    with pytest.raises(ResourceNotFoundError):
        client.restore_backup("backup-nowhere")
    assert capfd.readouterr() == ("", "")
