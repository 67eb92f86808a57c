"""Backup, Tag, BackupState and Mode: values that keep what the service said."""

import copy
import json
import pickle
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudhsm_restore import Backup, BackupState, Mode, Tag

UTC_NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MODEL = ServiceModel(Loader().load_service_model("cloudhsmv2", "service-2"), "cloudhsmv2")

offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
zones: st.SearchStrategy[Any] = st.one_of(st.none(), offsets.map(timezone))
timestamps: st.SearchStrategy[datetime] = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis takes naive bounds and adds the zones itself
    datetime(9999, 12, 30),  # noqa: DTZ001 - as above
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


def in_utc(moment: datetime) -> datetime:
    """The moment that the documentation promises for an aware or a naive timestamp."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@given(raw_backups)
def test_round_trip(raw: dict[str, Any]) -> None:
    """What boto3 returned comes out again in a shape that boto3's validator accepts, with nothing lost."""
    backup = Backup.model_validate(raw)
    dumped = backup.model_dump(by_alias=True, exclude_unset=True)

    report = ParamValidator().validate(dumped, MODEL.shape_for("Backup"))
    # botocore checks lengths, which the model does not: the service decides what is too short.
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
def test_every_way_of_copying_keeps_a_backup(raw: dict[str, Any]) -> None:
    """Pickle, copy and JSON give an equal backup with an equal hash."""
    backup = Backup.model_validate(raw)
    for again in (
        pickle.loads(pickle.dumps(backup)),
        copy.copy(backup),
        copy.deepcopy(backup),
        Backup.model_validate_json(backup.model_dump_json()),
        Backup.model_validate(backup.model_dump()),
    ):
        assert again == backup
        assert hash(again) == hash(backup)


@given(timestamps)
def test_timestamps_are_in_utc(moment: datetime) -> None:
    """A timestamp of any zone is the same moment in UTC; a naive one is read as UTC."""
    found = Backup(backup_id="backup-1", create_timestamp=moment).create_timestamp
    assert found == in_utc(moment)
    assert found is not None
    assert found.tzinfo is UTC


def test_a_naive_timestamp_is_in_utc_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own zone has no say in what a naive timestamp means."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    naive = UTC_NOON.replace(tzinfo=None)
    assert Backup(backup_id="backup-1", create_timestamp=naive).create_timestamp == UTC_NOON
    assert Backup(backup_id="backup-1", delete_timestamp=UTC_NOON).time_left(naive) == timedelta()
    monkeypatch.undo()
    time.tzset()


def test_a_moment_that_utc_does_not_have_is_refused() -> None:
    """A timestamp beyond what UTC can express is a validation error and not an OverflowError."""
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ValidationError, match="does not exist in UTC"):
        Backup(backup_id="backup-1", create_timestamp=last)


def test_only_the_id_is_required() -> None:
    """A backup with an ID alone is valid; without one it is not."""
    backup = Backup(backup_id="backup-1")
    assert backup.model_dump(exclude_unset=True) == {"backup_id": "backup-1"}
    assert backup.tag_list == ()
    with pytest.raises(ValidationError):
        Backup.model_validate({"BackupState": "READY"})


def test_absent_none_and_empty_are_one() -> None:
    """An empty tag list and explicit Nones leave no trace in the dump for boto3, which refuses both."""
    backup = Backup(backup_id="backup-1", tag_list=(), delete_timestamp=None)
    assert backup.model_dump(by_alias=True, exclude_unset=True) == {"BackupId": "backup-1"}


def test_backups_are_frozen() -> None:
    """No field can be assigned."""
    backup = Backup(backup_id="backup-1")
    with pytest.raises(ValidationError):
        backup.backup_id = "backup-2"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError):
        Tag(key="a", value="b").key = "c"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_fields_of_the_future_are_kept() -> None:
    """A field that this version does not know is kept and comes out again."""
    raw = {"BackupId": "backup-1", "Origin": {"Planet": "Mars"}}
    backup = Backup.model_validate(raw)
    assert backup.model_extra == {"Origin": {"Planet": "Mars"}}
    assert backup.model_dump(by_alias=True, exclude_unset=True) == raw
    assert hash(backup) == hash(Backup.model_validate(raw))


def test_tags_are_a_read_only_mapping() -> None:
    """``tags`` maps keys to values and refuses assignment."""
    backup = Backup.model_validate(
        {"BackupId": "backup-1", "TagList": [{"Key": "team", "Value": "payments"}]}
    )
    assert backup.tag_list == (Tag(key="team", value="payments"),)
    assert dict(backup.tags) == {"team": "payments"}
    with pytest.raises(TypeError):
        backup.tags["team"] = "other"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize("state", [*BackupState, BackupState("ARCHIVED"), None])
def test_only_pending_deletion_is_restorable(state: BackupState | None) -> None:
    """``is_restorable`` is true in PENDING_DELETION and in no other state."""
    backup = Backup(backup_id="backup-1", backup_state=state)
    assert backup.is_restorable is (state is BackupState.PENDING_DELETION)


def test_time_left() -> None:
    """``time_left`` counts down to ``delete_timestamp``, below zero once it has passed."""
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
    """A value that this version does not know is a member of the enum, equal to its string, and unlisted."""
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
    for again in (pickle.loads(pickle.dumps(member)), copy.copy(member), copy.deepcopy(member), enum(member)):
        assert again == member
        assert type(again) is enum
        assert not again.is_known


@pytest.mark.parametrize("member", [*BackupState, *Mode])
def test_known_values_are_the_members(member: BackupState | Mode) -> None:
    """A known value is the one listed member, in memory and after pickling."""
    assert member.is_known
    assert type(member)(member.value) is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert member == member.name


def test_an_enum_of_strings_takes_strings_only() -> None:
    """A value that is no string is an error, not a member."""
    with pytest.raises(ValueError, match="5 is not a valid BackupState"):
        BackupState(5)  # type: ignore[arg-type]


def test_match_works_on_states() -> None:
    """``match`` finds known states, and an unknown one ends in the default."""

    def what(state: BackupState) -> str:
        match state:
            case BackupState.READY:
                return "ready"
            case _:
                return "other"

    assert [what(BackupState.READY), what(BackupState("ARCHIVED"))] == ["ready", "other"]


def test_every_field_is_described() -> None:
    """The docstring of every field reaches the JSON schema."""
    schema = Backup.model_json_schema()
    for properties in (schema["properties"], schema["$defs"]["Tag"]["properties"]):
        assert all(field.get("description") for field in properties.values())
