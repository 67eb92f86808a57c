"""RestoreClient: how it is created, what it sends, and what it logs."""

import io
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any
from unittest.mock import Mock

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
def test_the_environment_configures_a_client(service: LocalCloudHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, boto3 resolves credentials, region, and endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDHSM_V2", service.endpoint_url)
    backup = service.add_backup(backup_state=BackupState.PENDING_DELETION)
    with RestoreClient() as client:
        assert client.restore_backup(backup.backup_id).backup_state is BackupState.READY


def test_a_session_configures_a_client(service: LocalCloudHsm) -> None:
    """The credentials and the region of a session are used."""
    session = boto3.Session("a", "b", region_name="eu-central-1")
    with RestoreClient(session=session, endpoint_url=service.endpoint_url) as client:
        assert list(client.describe_backups()) == []


def test_a_given_client_stays_open(service: LocalCloudHsm) -> None:
    """A boto3 client that was passed in is used unchanged, and closing the RestoreClient leaves it open."""
    boto3_client = service.boto3_client()
    with RestoreClient(boto3_client) as client:
        assert list(client.describe_backups()) == []
    assert connections(service) == 1
    assert boto3_client.describe_backups()["Backups"] == []
    boto3_client.close()


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
def test_a_client_excludes_other_arguments(service: LocalCloudHsm, other: dict[str, Any]) -> None:
    """A client together with an argument that configures a client is a TypeError."""
    boto3_client = service.boto3_client()
    with pytest.raises(TypeError, match="pass either client, or session"):
        RestoreClient(boto3_client, **other)
    boto3_client.close()


@pytest.mark.parametrize("value", ["us-east-1", object(), boto3.client("sts", region_name="us-east-1")])
def test_rejects_non_clients(value: Any) -> None:
    """Anything but a cloudhsmv2 client is a TypeError when the RestoreClient is created."""
    with pytest.raises(TypeError, match="must be a boto3 cloudhsmv2 client"):
        RestoreClient(value)


def test_rejects_non_sessions() -> None:
    """The name of a profile is not a session, and the message shows how to create one."""
    profile: Any = "prod"
    with pytest.raises(TypeError, match=r"not 'prod'; .*boto3\.Session\(profile_name="):
        RestoreClient(session=profile)


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
def test_invalid_client_settings(arguments: dict[str, Any]) -> None:
    """An invalid region or endpoint is a ConfigurationError when the client is created."""
    with pytest.raises(ConfigurationError) as caught:
        RestoreClient(**arguments)
    assert caught.value.operation is None
    assert not caught.value.outcome_unknown
    assert not caught.value.retryable
    assert "could not load credentials" not in str(caught.value)


def test_an_interrupt_while_the_client_is_created(caplog: pytest.LogCaptureFixture) -> None:
    """It propagates, and the log reports no outcome: there is no restore yet."""
    session: Any = Mock(client=Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        RestoreClient(session=session)
    assert caplog.records == []


@pytest.mark.usefixtures("credentials")
def test_an_unknown_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that does not exist is a ConfigurationError that names it."""
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(ConfigurationError, match="missing"):
        RestoreClient()


def test_an_unsupported_scheme(make_client: MakeClient) -> None:
    """An endpoint that is neither HTTP nor HTTPS is a ConfigurationError: nothing was sent."""
    with pytest.raises(ConfigurationError) as caught:
        make_client("ftp://127.0.0.1").restore_backup(BACKUP_ID)
    assert not caught.value.outcome_unknown


def test_the_user_agent_names_the_library(raw_server: RawServer, make_client: MakeClient) -> None:
    """A client that the library creates appends the library's name and version to the user agent."""
    client = make_client(raw_server.respond(RESTORED), user_agent_extra="incident/42")
    client.restore_backup(BACKUP_ID)
    [agent] = [
        line for line in raw_server.requests[0].split(b"\r\n") if line.lower().startswith(b"user-agent:")
    ]
    assert agent.endswith(f" incident/42 cloudhsm-restore/{__version__}".encode())


@pytest.mark.usefixtures("credentials")
def test_the_config_is_unchanged(make_client: MakeClient) -> None:
    """Nothing but the user agent differs from boto3's client with the same config."""
    client = make_client(
        "http://127.0.0.1:1", read_timeout=11, max_pool_connections=3, retries={"mode": "adaptive"}
    )
    settings = vars(client._client.meta.config)
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
    expected = vars(plain.meta.config)
    different = {name for name, value in expected.items() if settings.get(name) != value}
    assert {name for name in different if not name.startswith("_")} <= {"user_agent"}


@pytest.mark.usefixtures("credentials")
def test_late_and_session_wide_settings_are_used(raw_server: RawServer) -> None:
    """A Config whose attributes were assigned, and the default of a session, have the effect of boto3's."""
    options: Any = config()
    options.read_timeout = 3
    with RestoreClient(endpoint_url=raw_server.respond(RESTORED), config=options) as client:
        settings: Any = client._client.meta.config
        assert settings.read_timeout == 3
    session = boto3.Session()
    inner: Any = vars(session)["_session"]
    inner.set_default_client_config(config(user_agent_extra="application/1"))
    with RestoreClient(session=session, endpoint_url=raw_server.url) as client:
        client.restore_backup(BACKUP_ID)
    assert f" application/1 cloudhsm-restore/{__version__}\r\n".encode() in raw_server.requests[0]


@pytest.mark.usefixtures("credentials")
def test_the_timeouts_of_a_defaults_mode_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Config, boto3 gets none: any Config makes it drop the timeouts of a defaults mode."""
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "standard")
    session = boto3.Session()
    plain: CloudHSMV2Client = session.client("cloudhsmv2", endpoint_url="http://127.0.0.1:1")
    any_config: CloudHSMV2Client = session.client(
        "cloudhsmv2", endpoint_url="http://127.0.0.1:1", config=Config(parameter_validation=False)
    )
    with RestoreClient(session=session, endpoint_url="http://127.0.0.1:1") as client:
        settings: Any = client._client.meta.config
        kept: Any = plain.meta.config
        dropped: Any = any_config.meta.config
    assert settings.connect_timeout == kept.connect_timeout < dropped.connect_timeout


def test_close_closes_a_client_that_the_library_created(
    service: LocalCloudHsm, make_client: MakeClient
) -> None:
    """After ``close`` no connection is open."""
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
    """A restore is one RestoreBackup request, and returns the backup of its response."""
    backup = service.add_backup(
        backup_state="PENDING_DELETION", tag_list=[{"Key": "team", "Value": "payments"}]
    )
    restored = make_client(service.endpoint_url).restore_backup(backup.backup_id)
    assert [request.operation for request in service.requests] == ["RestoreBackup"]
    assert restored == service.backups[backup.backup_id]
    assert (restored.backup_state, restored.delete_timestamp) == (BackupState.READY, None)
    assert restored.tags == {"team": "payments"}


def test_get_backup_returns_a_backup_in_any_state(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """``get_backup`` returns a backup in any state, and raises ResourceNotFoundError if there is none."""
    client = make_client(service.endpoint_url)
    for state in BackupState:
        backup = service.add_backup(backup_state=state)
        assert client.get_backup(backup.backup_id) == backup
    with pytest.raises(ResourceNotFoundError) as caught:
        client.get_backup("backup-nowhere")
    assert caught.value.backup_id == "backup-nowhere"
    assert caught.value.operation == "DescribeBackups"


def test_get_backup_compares_ids(raw_server: RawServer, make_client: MakeClient) -> None:
    """``get_backup`` returns the backup with the ID, even if the service ignores the filter and pages."""
    other = wire_backup(BackupId="backup-7777777zzzz")
    client = make_client(
        raw_server.respond(
            http({"Backups": [other], "NextToken": "1"}),
            http({"Backups": [], "NextToken": "2"}),
            http({"Backups": [other, wire_backup()]}),
            http({"Backups": [other]}),
        )
    )
    assert client.get_backup(BACKUP_ID).backup_id == BACKUP_ID
    with pytest.raises(UnexpectedResponseError, match="1 other backups"):
        client.get_backup(BACKUP_ID)


@pytest.mark.parametrize("body", [{}, {"Backups": None}, {"Backups": [None]}, [], None, "x"])
def test_a_missing_list_is_not_an_empty_list(
    raw_server: RawServer, make_client: MakeClient, body: object
) -> None:
    """A response without a list is unexpected: it does not report that the backup does not exist."""
    client = make_client(raw_server.respond(http(body), http(body)))
    with pytest.raises(UnexpectedResponseError):
        client.get_backup(BACKUP_ID)
    with pytest.raises(UnexpectedResponseError):
        list(client.describe_backups())


def test_describe_backups_is_lazy(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """A page is requested when the iteration reaches it."""
    added = {service.add_backup().backup_id for _ in range(120)}
    iterator = make_client(service.endpoint_url).describe_backups()
    assert len(service.requests) == 0
    first = list(islice(iterator, 50))
    assert len(service.requests) == 1
    rest = list(iterator)
    assert len(service.requests) == 3
    assert {backup.backup_id for backup in first + rest} == added
    assert len(first + rest) == 120


def test_describe_backups_sends_one_request_per_state(
    service: LocalCloudHsm, make_client: MakeClient
) -> None:
    """Each state has one request, because the service filters by one state per call."""
    for state in (BackupState.READY, BackupState.PENDING_DELETION, BackupState.DELETED):
        service.add_backup(backup_state=state)
    found = make_client(service.endpoint_url).describe_backups(
        states=[BackupState.PENDING_DELETION, "READY", "READY"]
    )
    assert [backup.backup_state for backup in found] == ["PENDING_DELETION", "READY"]
    assert len(service.requests) == 2


def test_an_unknown_state_has_to_be_a_backup_state(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """An unknown state is accepted as a BackupState; as a string it is taken for a misspelling."""
    archived = service.add_backup(backup_state=BackupState("ARCHIVED"))
    client = make_client(service.endpoint_url)
    with pytest.raises(
        ParameterError, match=r"unknown state 'ARCHIVED'; expected one of .* pass BackupState\('ARCHIVED'\)"
    ):
        client.describe_backups(states=["ARCHIVED"])
    [found] = client.describe_backups(states=[BackupState("ARCHIVED")])
    assert found.backup_id == archived.backup_id


def test_filters_reach_the_service(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Every filter reaches the service, alone and together with others, and can be a generator."""
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
def test_invalid_filters(make_client: MakeClient, raw_server: RawServer, filters: dict[str, Any]) -> None:
    """An invalid filter is a ParameterError of the call, before the iteration."""
    client = make_client(raw_server.url)
    with pytest.raises(ParameterError) as caught:
        client.describe_backups(**filters)
    assert next(iter(filters)) in str(caught.value)


def endless(page: list[dict[str, str]]) -> Any:
    """Return a client that lists this page again and again, each time with a new token."""
    client = Mock(spec=["restore_backup", "describe_backups"])
    client.describe_backups.side_effect = ({"Backups": page, "NextToken": f"token-{n}"} for n in count())
    return client


def test_a_list_that_never_ends() -> None:
    """After 100 pages in a row without what is looked for, the list is given up. Other pages are yielded."""
    other = [{"BackupId": "backup-other"}]
    client = endless(page=[])
    with pytest.raises(UnexpectedResponseError, match="100 pages"):
        next(RestoreClient(client).describe_backups())
    assert client.describe_backups.call_count == 100
    client = endless(other)
    with pytest.raises(UnexpectedResponseError, match="100 pages"):
        RestoreClient(client).get_backup(BACKUP_ID)
    assert client.describe_backups.call_count == 100
    assert len([*islice(RestoreClient(endless(other)).describe_backups(), 150)]) == 150


def test_a_repeated_next_token(raw_server: RawServer, make_client: MakeClient) -> None:
    """A service that returns the same NextToken again does not cause an endless loop."""
    page = http({"Backups": [wire_backup()], "NextToken": "again"})
    iterator = make_client(raw_server.respond(page, page, page)).describe_backups()
    with pytest.raises(UnexpectedResponseError, match="NextToken"):
        list(iterator)


@pytest.mark.parametrize("token", [5, True, ["next"], {"next": 1}])
def test_an_invalid_next_token(raw_server: RawServer, make_client: MakeClient, token: object) -> None:
    """A token that is not a string is a fault of the service, and not of the next request."""
    page = http({"Backups": [], "NextToken": token})
    with pytest.raises(UnexpectedResponseError, match="NextToken"):
        make_client(raw_server.respond(page, page)).get_backup(BACKUP_ID)
    assert len(raw_server.requests) == 1


def test_64_threads_share_a_client(service: LocalCloudHsm, make_client: MakeClient) -> None:
    """Each of 64 threads that share a client gets the backup that it restored."""
    ids = [service.add_backup(backup_state="PENDING_DELETION").backup_id for _ in range(640)]
    timeouts = {"connect_timeout": 60, "read_timeout": 60}  # A busy machine takes its time.
    client = make_client(service.endpoint_url, max_pool_connections=64, **timeouts)
    with ThreadPoolExecutor(64) as pool:
        restored = list(pool.map(client.restore_backup, ids))
    assert [backup.backup_id for backup in restored] == ids
    assert {backup.backup_state for backup in restored} == {BackupState.READY}


# --- The log ---


def test_a_restore_is_one_log_record(
    service: LocalCloudHsm, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A restore logs one INFO record, with backup ID, state, and request ID in the text and as fields."""
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
    """Without a logging configuration the library prints nothing, in success and in failure."""
    client = make_client(service.endpoint_url)
    backup = service.add_backup(backup_state="PENDING_DELETION")
    client.restore_backup(backup.backup_id)
    client.ensure_restored(backup.backup_id)
    with pytest.raises(ResourceNotFoundError):
        client.restore_backup("backup-nowhere")
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_by_a_fresh_interpreter() -> None:
    """Without a logging configuration Python would print the warnings of a library."""
    program = "import cloudhsm_restore.client, logging; logging.getLogger('cloudhsm_restore').warning('x')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


class FullDisk(io.StringIO):
    """A standard error whose every write fails."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def closed_stream() -> io.StringIO:
    """Return a stream that is closed."""
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [closed_stream(), FullDisk(), None], ids=["closed", "full", "none"])
def test_logging_that_raises_without_standard_error(
    service: LocalCloudHsm,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stream: io.StringIO | None,
) -> None:
    """A filter that raises does not break a restore, although its traceback cannot be printed."""
    logger = logging.getLogger("cloudhsm_restore")
    failing = Mock()
    failing.filter.side_effect = RuntimeError
    monkeypatch.setattr(logger, "filters", [failing])
    caplog.set_level(logging.DEBUG, "cloudhsm_restore")
    backup = service.add_backup(backup_state="PENDING_DELETION")
    with service.client() as client, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        restored = client.restore_backup(backup.backup_id)
    assert restored.backup_state is BackupState.READY
    assert failing.filter.called
