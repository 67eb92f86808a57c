"""The models and exceptions match botocore's service model, so that an addition of AWS fails here first."""

import copy
import inspect
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.model import StringShape, StructureShape
from pydantic.fields import FieldInfo

from cloudhsm_restore import ApiError, Backup, BackupState, Mode, RestoreClient, Tag, exceptions

from . import service_model_diff
from .fuzz.checks import service_model

MODEL = service_model()
CALLED = ["RestoreBackup", "DescribeBackups", "ModifyBackupAttributes"]


def structure(name: str) -> StructureShape:
    """Return a structure of the service model."""
    shape = MODEL.shape_for(name)
    assert isinstance(shape, StructureShape)
    return shape


@pytest.mark.parametrize("model", [Backup, Tag])
def test_fields_are_the_service_models(model: type[Backup] | type[Tag]) -> None:
    """Every member of a structure is a field with its name as alias, required if the member is required."""
    shape = structure(model.__name__)
    fields = {field.alias: field for field in model.model_fields.values()}
    assert set(fields) >= set(shape.members)
    assert set(fields) == set(shape.members) or not service_model_diff.is_followed()
    assert {alias for alias, field in fields.items() if field.is_required()} == set(shape.required_members)


def test_fields_have_the_types_of_the_service_model() -> None:
    """A timestamp is a datetime, a boolean a bool, a list a tuple, and a string a string."""
    types = {"string": str, "boolean": bool, "timestamp": datetime, "list": tuple}
    whole = {
        "BackupId": "backup-1",
        "TagList": [{"Key": "a", "Value": "b"}],
        "NeverExpires": True,
        **{
            name: datetime(2026, 1, 1, tzinfo=UTC)
            for name in ("CreateTimestamp", "CopyTimestamp", "DeleteTimestamp")
        },
    }
    for name, member in structure("Backup").members.items():
        backup = Backup.model_validate(whole | ({name: "x"} if member.type_name == "string" else {}))
        fields: dict[str, FieldInfo] = Backup.model_fields
        [field] = [field for field, info in fields.items() if info.alias == name]
        assert isinstance(getattr(backup, field), types[member.type_name]), name


@pytest.mark.parametrize(("enum", "shape"), [(BackupState, "BackupState"), (Mode, "ClusterMode")])
def test_enums_are_the_service_models(enum: type[BackupState] | type[Mode], shape: str) -> None:
    """Each enum has the service model's values, in its order."""
    values = MODEL.shape_for(shape)
    assert isinstance(values, StringShape)
    assert [member.value for member in enum if member in values.enum] == values.enum
    assert len(enum) == len(values.enum) or not service_model_diff.is_followed()


@pytest.mark.parametrize("operation", CALLED)
def test_every_modeled_exception_has_its_class(operation: str) -> None:
    """Every exception that the service model lists for an operation of this library has a class."""
    for shape in MODEL.operation_model(operation).error_shapes:
        owners = [cls for cls in ApiError.__subclasses__() if shape.name in cls.codes]
        assert len(owners) == 1, shape.name
        assert owners[0].__name__ == shape.name.removeprefix("CloudHsm").replace("Exception", "Error")


@pytest.mark.skipif(not service_model_diff.is_followed(), reason="an older service model has fewer members")
def test_the_service_model_has_no_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """``service_model_diff`` finds no difference to the installed botocore."""
    assert service_model_diff.main([]) == 0
    assert capsys.readouterr().out == "No differences.\n"


def test_each_difference_is_reported_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new member, state, error, parameter, filter, or operation is reported with the file to change."""
    changed = copy.deepcopy(service_model_diff.load())
    shapes, operations = changed["shapes"], changed["operations"]
    shapes["Backup"]["members"]["KeyCount"] = {"shape": "Keys", "documentation": "<p>How many keys.</p>"}
    shapes["Keys"] = {"type": "integer"}
    del shapes["Backup"]["members"]["SourceCluster"]
    shapes["Backup"]["required"].append("ClusterId")
    shapes["BackupState"]["enum"].append("ARCHIVED")
    shapes["ClusterMode"]["enum"].remove("FIPS")
    operations["RestoreBackup"]["errors"].append({"shape": "CloudHsmQuotaException"})
    operations["ArchiveBackup"] = operations["DeleteBackup"]
    shapes["RestoreBackupRequest"]["members"]["DryRun"] = {"shape": "Boolean"}
    del shapes["DescribeBackupsResponse"]["members"]["NextToken"]
    filters = shapes["DescribeBackupsRequest"]["members"]["Filters"]
    filters["documentation"] += "<p>Use the <code>hsmTypes</code> filter.</p>"
    path = tmp_path / "service-2.json"
    path.write_text(json.dumps(changed), encoding="utf-8")
    assert service_model_diff.main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    for part in (
        'models.py, Backup: add key_count: int | None = None, in its constructor too. Documentation: "How',
        "models.py, Backup: SourceCluster is no longer",
        "models.py, Backup: ClusterId is now required.",
        'models.py, BackupState: add ARCHIVED = "ARCHIVED" with a docstring, and add its next action',
        "models.py, Mode: FIPS is no longer",
        "RestoreBackup accepts DryRun",
        "class QuotaError(ApiError)",
        "DescribeBackups no longer has NextToken",
        "a new filter, hsmTypes",
        "ArchiveBackup is a new operation",
    ):
        assert sum(part in line for line in lines) == 1, (part, lines)
    assert len(lines) == 10


def test_a_code_belongs_to_one_class() -> None:
    """No code is declared on two classes."""
    codes = [code for cls in ApiError.__subclasses__() for code in cls.codes]
    assert len(codes) == len(set(codes))


def test_filters_are_those_of_the_documentation() -> None:
    """``describe_backups`` has a parameter for each documented filter, and no other."""
    documentation = structure("DescribeBackupsRequest").members["Filters"].documentation
    for key in ("backupIds", "sourceBackupIds", "clusterIds", "states", "neverExpires"):
        assert f"<code>{key}</code>" in documentation
    parameters = set(inspect.signature(RestoreClient.describe_backups).parameters)
    assert parameters == {
        "self", "backup_ids", "source_backup_ids", "cluster_ids", "states", "never_expires",
    }  # fmt: skip


def test_operations_have_the_expected_members() -> None:
    """The operations that the library calls have the inputs and outputs that it relies on."""
    assert structure("RestoreBackupRequest").required_members == ["BackupId"]
    assert set(structure("RestoreBackupResponse").members) == {"Backup"}
    assert set(structure("ModifyBackupAttributesRequest").required_members) == {"BackupId", "NeverExpires"}
    assert set(structure("DescribeBackupsResponse").members) == {"Backups", "NextToken"}


def test_everything_public_has_a_docstring() -> None:
    """Every public class and method has a docstring."""
    for cls in [
        RestoreClient,
        Backup,
        Tag,
        BackupState,
        Mode,
        *map(vars(exceptions).get, exceptions.__all__),
    ]:
        assert inspect.getdoc(cls), cls
        for name, member in vars(cls).items():
            if not name.startswith("_") and inspect.isfunction(member):
                assert inspect.getdoc(member), f"{cls}.{name}"
