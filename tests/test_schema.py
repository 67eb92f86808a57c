"""The JSON schema of `Backup`: open to additions of AWS, and equal to the model otherwise."""

import inspect
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as MisfitError
from pydantic import Field, ValidationError

from cloudhsm_restore import Backup, BackupState, Mode

from .test_models import raw_backups

DOCS = Path(__file__).parent.parent / "docs"
PUBLISHED = json.loads((DOCS / "backup.schema.json").read_text(encoding="utf-8"))
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

formats = FormatChecker(formats=())


@formats.checks("date-time")
def is_date_time(value: object) -> bool:
    """Check a timestamp, because jsonschema alone does not."""
    return not isinstance(value, str) or bool(RFC_3339.fullmatch(value))


def check(value: object, schema: dict[str, Any]) -> None:
    """Raise unless the value fits the schema, which is checked once elsewhere."""
    validator: Any = Draft202012Validator(schema, format_checker=formats)
    for error in validator.iter_errors(value):
        raise error


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
added_by_aws = st.dictionaries(st.sampled_from(["Origin", "KeyCount", "Replicas"]), values)


def test_the_published_schema_is_current() -> None:
    """``docs/backup.schema.json`` is the output of ``docs/schema.py``."""
    Draft202012Validator.check_schema(PUBLISHED)
    current = json.loads(runpy.run_path(str(DOCS / "schema.py"))["schema"]())
    assert current == PUBLISHED, "run: make schema"


def test_validation_and_serialization_have_one_schema() -> None:
    """The schema for validation is the schema for serialization, so one is published."""
    assert Backup.model_json_schema(mode="validation") == Backup.model_json_schema(mode="serialization")
    for by_alias in (True, False):
        schema = Backup.model_json_schema(by_alias=by_alias)
        names = {field.alias if by_alias else name for name, field in Backup.model_fields.items()}
        assert set(schema["properties"]) == names
        assert schema["required"] == ["BackupId" if by_alias else "backup_id"]


@given(raw_backups, added_by_aws)
def test_dumps_match_the_schema(raw: dict[str, Any], added: dict[str, Any]) -> None:
    """The dump of every backup, with unknown states and fields too, is valid by the schema."""
    backup = Backup.model_validate(added | raw)
    for dumped in (
        backup.model_dump_json(by_alias=True),
        backup.model_dump_json(by_alias=True, exclude_unset=True),
    ):
        check(json.loads(dumped), PUBLISHED)
        assert Backup.model_validate_json(dumped) == backup
    check(json.loads(backup.model_dump_json(by_alias=True, exclude_none=True)), PUBLISHED)


@pytest.mark.parametrize("mode", ["validation", "serialization"])
@pytest.mark.parametrize(("name", "enum"), [("BackupState", BackupState), ("Mode", Mode)])
def test_the_enums_are_open(name: str, enum: type[BackupState] | type[Mode], mode: Any) -> None:
    """An unknown value is valid by the schema, which lists the known ones as examples."""
    schema = Backup.model_json_schema(mode=mode)
    assert schema["$defs"][name]["examples"] == [member.value for member in enum]
    for value in (*enum, "ADDED-LATER"):
        check({"BackupId": "backup-1", name: value}, schema)


@pytest.mark.parametrize(
    "invalid",
    [
        {},
        {"BackupId": None},
        {"BackupId": 5},
        {"BackupId": "backup-1", "BackupState": 5},
        {"BackupId": "backup-1", "NeverExpires": "yes"},
        {"BackupId": "backup-1", "CreateTimestamp": "the day before yesterday"},
        {"BackupId": "backup-1", "TagList": None},
        {"BackupId": "backup-1", "TagList": [{"Key": "team"}]},
        {"BackupId": "backup-1", "Mode": ["FIPS"]},
    ],
    ids=json.dumps,
)
def test_the_schema_rejects_what_the_model_rejects(invalid: dict[str, Any]) -> None:
    """A document that is invalid for the model is invalid by the schema."""
    with pytest.raises(ValidationError):
        Backup.model_validate(invalid)
    with pytest.raises(MisfitError):
        check(invalid, PUBLISHED)


def test_everything_in_the_schema_is_described() -> None:
    """Every field and every type has a description."""
    for properties in (PUBLISHED["properties"], PUBLISHED["$defs"]["Tag"]["properties"]):
        assert all(field["description"] for field in properties.values())
    assert all(definition["description"] for definition in (PUBLISHED, *PUBLISHED["$defs"].values()))


def test_a_subclass_has_a_schema() -> None:
    """A subclass has the descriptions of the inherited fields and of its fields, wherever it is defined."""

    class Owned(Backup, frozen=True):
        owner: str = Field("unknown", description="Who pays.")
        backup_arn: str | None = Field(None, description="Another description.")

    properties = Owned.model_json_schema()["properties"]
    assert properties["BackupId"]["description"] == PUBLISHED["properties"]["BackupId"]["description"]
    assert properties["Owner"]["description"] == "Who pays."
    assert properties["BackupArn"]["description"] == "Another description."


def test_a_schema_without_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the source files the schema has no descriptions of the fields."""

    def no_source(_: object) -> str:
        raise OSError

    monkeypatch.setattr(inspect, "getsource", no_source)
    properties = Backup.model_json_schema()["properties"]
    assert properties["BackupId"]["type"] == "string"
    assert "description" not in properties["BackupId"]
