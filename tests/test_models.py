"""Backup, Tag, BackupState, and Mode keep every value of a response."""

import copy
import json
import pickle
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudhsm_restore import Backup, BackupState, Mode, Tag

from .fuzz.checks import service_model

UTC_NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
zones: st.SearchStrategy[Any] = st.one_of(st.none(), offsets.map(timezone))
timestamps: st.SearchStrategy[datetime] = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - Hypothesis accepts naive bounds only, and adds the zones.
    datetime(9999, 12, 30),  # noqa: DTZ001 - for the same reason
    timezones=zones,
)
texts = st.text(max_size=20)
states = st.sampled_from(list(BackupState)) | texts
raw_backups = st.fixed_dictionaries(
    {"BackupId": st.text(min_size=1, max_size=20)},
    optional={
        "BackupArn": texts,
        "BackupState": states,
        "ClusterId": texts,
        "CreateTimestamp": timestamps,
        "CopyTimestamp": timestamps,
        "NeverExpires": st.booleans(),
        "SourceRegion": texts,
        "SourceBackup": texts,
        "SourceCluster": texts,
        "DeleteTimestamp": timestamps,
        "TagList": st.lists(
            st.fixed_dictionaries({"Key": st.text(min_size=1, max_size=9), "Value": texts}), max_size=50
        ),
        "HsmType": texts,
        "Mode": st.sampled_from(list(Mode)) | texts,
    },
)


def in_utc(timestamp: datetime) -> datetime:
    """Return the documented value of an aware or naive timestamp."""
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)


@given(raw_backups)
def test_a_dump_is_valid_for_boto3(raw: dict[str, Any]) -> None:
    """The dump of a backup has every value of the response, and boto3's validator accepts it."""
    backup = Backup.model_validate(raw)
    dumped = backup.model_dump(by_alias=True, exclude_unset=True)

    report = ParamValidator().validate(dumped, service_model().shape_for("Backup"))
    # botocore validates lengths. The model does not, so that it accepts every response of the service.
    assert [kind for kind, _, _ in report._errors if kind != "range"] == []
    for key, value in raw.items():
        if isinstance(value, datetime):
            assert dumped[key] == in_utc(value)
        elif key == "TagList":
            assert list(dumped.get(key, ())) == value
        else:
            assert dumped[key] == value
    assert set(dumped) == {key for key, value in raw.items() if value != []}


@given(raw_backups)
def test_copies_are_equal(raw: dict[str, Any]) -> None:
    """Pickle, copy, and JSON give an equal backup with an equal hash."""
    backup = Backup.model_validate(raw)
    for copied in (
        pickle.loads(pickle.dumps(backup)),
        copy.copy(backup),
        copy.deepcopy(backup),
        Backup.model_validate_json(backup.model_dump_json()),
        Backup.model_validate(backup.model_dump()),
    ):
        assert copied == backup
        assert hash(copied) == hash(backup)


@given(timestamps)
def test_timestamps_are_in_utc(timestamp: datetime) -> None:
    """An aware timestamp is converted to UTC; a naive one is taken as UTC."""
    converted = Backup(backup_id="backup-1", create_timestamp=timestamp).create_timestamp
    assert converted == in_utc(timestamp)
    assert converted is not None
    assert converted.tzinfo is UTC


def test_a_naive_timestamp_is_in_utc_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A naive timestamp does not depend on the time zone of the machine."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    naive = UTC_NOON.replace(tzinfo=None)
    assert Backup(backup_id="backup-1", create_timestamp=naive).create_timestamp == UTC_NOON
    assert Backup(backup_id="backup-1", delete_timestamp=UTC_NOON).time_left(naive) == timedelta()
    monkeypatch.undo()
    time.tzset()


def test_a_timestamp_beyond_utc_is_invalid() -> None:
    """A timestamp that has no value in UTC is a validation error, not an OverflowError."""
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ValidationError, match="does not exist in UTC"):
        Backup(backup_id="backup-1", create_timestamp=last)


def test_only_the_id_is_required() -> None:
    """A backup with only an ID is valid; one without an ID is not."""
    backup = Backup(backup_id="backup-1")
    assert backup.model_dump(exclude_unset=True) == {"backup_id": "backup-1"}
    assert backup.tag_list == ()
    with pytest.raises(ValidationError):
        Backup.model_validate({"BackupState": "READY"})


def test_none_and_empty_values_are_not_dumped() -> None:
    """An empty tag list and None are not in the dump for boto3, whose validator rejects them."""
    backup = Backup(backup_id="backup-1", tag_list=(), delete_timestamp=None)
    assert backup.model_dump(by_alias=True, exclude_unset=True) == {"BackupId": "backup-1"}


def test_backups_are_frozen() -> None:
    """Assigning a field is an error."""
    backup = Backup(backup_id="backup-1")
    with pytest.raises(ValidationError):
        backup.backup_id = "backup-2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError):
        Tag(key="a", value="b").key = "c"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_unknown_fields_are_kept() -> None:
    """An unknown field is kept, and is in the dump."""
    raw = {"BackupId": "backup-1", "Origin": {"Planet": "Mars"}}
    backup = Backup.model_validate(raw)
    assert backup.model_extra == {"Origin": {"Planet": "Mars"}}
    assert backup.model_dump(by_alias=True, exclude_unset=True) == raw
    assert hash(backup) == hash(Backup.model_validate(raw))


def test_tags_are_a_read_only_mapping() -> None:
    """``tags`` maps keys to values and is read-only."""
    backup = Backup.model_validate(
        {"BackupId": "backup-1", "TagList": [{"Key": "team", "Value": "payments"}]}
    )
    assert backup.tag_list == (Tag(key="team", value="payments"),)
    assert dict(backup.tags) == {"team": "payments"}
    with pytest.raises(TypeError):
        backup.tags["team"] = "other"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert backup.model_copy(update={"tag_list": None}).tags == {}


@pytest.mark.parametrize("state", [*BackupState, BackupState("ARCHIVED"), None])
def test_only_pending_deletion_is_restorable(state: BackupState | None) -> None:
    """``is_restorable`` is true in PENDING_DELETION and in no other state."""
    backup = Backup(backup_id="backup-1", backup_state=state)
    assert backup.is_restorable is (state is BackupState.PENDING_DELETION)


def test_time_left_is_the_time_until_deletion() -> None:
    """``time_left`` is the time until ``delete_timestamp``, negative after it."""
    backup = Backup(backup_id="backup-1", delete_timestamp=UTC_NOON)
    assert backup.time_left(UTC_NOON - timedelta(days=2)) == timedelta(days=2)
    assert backup.time_left(UTC_NOON.replace(tzinfo=None) - timedelta(hours=1)) == timedelta(hours=1)
    assert backup.time_left(UTC_NOON.astimezone(timezone(timedelta(hours=5)))) == timedelta()
    assert backup.time_left(UTC_NOON + timedelta(seconds=1)) == timedelta(seconds=-1)
    assert Backup(backup_id="backup-1").time_left() is None
    now = datetime.now(UTC)
    left = Backup(backup_id="backup-1", delete_timestamp=now + timedelta(days=7)).time_left()
    assert left is not None
    assert timedelta(days=6) < left <= timedelta(days=7)


@given(texts, st.sampled_from([BackupState, Mode]))
def test_unknown_values_become_members(value: str, enum: type[BackupState] | type[Mode]) -> None:
    """An unknown value is a member of the enum, equal to its string, and not listed."""
    if value in enum.__members__:
        return
    member = enum(value)
    assert isinstance(member, enum)
    assert member == value
    assert member.value == value
    assert not member.is_known
    assert member not in list(enum)
    assert hash(member) == hash(value)
    assert str(member) == value
    assert json.loads(json.dumps(member)) == value
    for copied in (
        pickle.loads(pickle.dumps(member)),
        copy.copy(member),
        copy.deepcopy(member),
        enum(member),
    ):
        assert copied == member
        assert type(copied) is enum
        assert not copied.is_known


@pytest.mark.parametrize("member", [*BackupState, *Mode])
def test_a_known_value_is_one_member(member: BackupState | Mode) -> None:
    """A known value is the listed member, also after pickling."""
    assert member.is_known
    assert type(member)(member.value) is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert member == member.name


def test_enums_accept_strings_only() -> None:
    """A value that is not a string is an error, not a member."""
    with pytest.raises(ValueError, match="5 is not a valid BackupState"):
        BackupState(5)  # type: ignore[arg-type]


def test_states_can_be_matched() -> None:
    """``match`` matches known states, and an unknown one matches the default."""

    def matched(state: BackupState) -> str:
        match state:
            case BackupState.READY:
                return "ready"
            case _:
                return "other"

    assert [matched(BackupState.READY), matched(BackupState("ARCHIVED"))] == ["ready", "other"]


def test_every_field_is_described() -> None:
    """The docstring of every field is in the JSON schema."""
    schema = Backup.model_json_schema()
    for properties in (schema["properties"], schema["$defs"]["Tag"]["properties"]):
        assert all(field.get("description") for field in properties.values())
