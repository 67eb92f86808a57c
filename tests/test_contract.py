"""The types against botocore's own service model: what AWS adds shows here first, and users lose nothing."""

import copy
import inspect
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, StringShape, StructureShape
from pydantic.fields import FieldInfo

from cloudhsm_restore import ApiError, Backup, BackupState, Mode, RestoreClient, Tag
from cloudhsm_restore import exceptions as family

from . import model as maintainers

MODEL = ServiceModel(Loader().load_service_model("cloudhsmv2", "service-2"), "cloudhsmv2")
CALLED = ["RestoreBackup", "DescribeBackups", "ModifyBackupAttributes"]


def structure(name: str) -> StructureShape:
    """A structure of the service model."""
    shape = MODEL.shape_for(name)
    assert isinstance(shape, StructureShape)
    return shape


@pytest.mark.parametrize("model", [Backup, Tag])
def test_fields_are_the_service_models(model: type[Backup] | type[Tag]) -> None:
    """Every member of the service model is a field by its own name, required where it is required there."""
    shape = structure(model.__name__)
    fields = {field.alias: field for field in model.model_fields.values()}
    assert set(fields) >= set(shape.members)
    assert set(fields) == set(shape.members) or not maintainers.is_followed()
    assert {alias for alias, field in fields.items() if field.is_required()} == set(shape.required_members)


def test_fields_have_the_types_of_the_service_model() -> None:
    """A timestamp is a datetime, a boolean a bool, a list a tuple and a string a string."""
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
    assert len(enum) == len(values.enum) or not maintainers.is_followed()


@pytest.mark.parametrize("operation", CALLED)
def test_every_modelled_exception_has_its_class(operation: str) -> None:
    """Every exception that the model lists for an operation that we call has a class of its own."""
    for shape in MODEL.operation_model(operation).error_shapes:
        owners = [cls for cls in ApiError.__subclasses__() if shape.name in cls.codes]
        assert len(owners) == 1, shape.name
        assert owners[0].__name__ == shape.name.removeprefix("CloudHsm").replace("Exception", "Error")


@pytest.mark.skipif(not maintainers.is_followed(), reason="an older service model lacks what is here")
def test_nothing_is_to_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """The maintainers' script finds nothing in botocore's model that is not here."""
    assert maintainers.main([]) == 0
    assert capsys.readouterr().out == "Nothing is to be changed.\n"


def test_the_script_says_what_to_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A member, a state, an error, a parameter, a filter, an operation: each is told with its place."""
    changed = copy.deepcopy(maintainers.load())
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
    assert maintainers.main([str(path)]) == 1
    told = capsys.readouterr().out.splitlines()
    for what in (
        'models.py, Backup: add key_count: int | None = None, in its constructor too. AWS says: "How many',
        "models.py, Backup: SourceCluster is gone",
        "models.py, Backup: ClusterId is now required.",
        'models.py, BackupState: add ARCHIVED = "ARCHIVED" with a docstring, and say in _state_machine.py',
        "models.py, Mode: FIPS is gone",
        "RestoreBackup takes DryRun",
        "class QuotaError(ApiError)",
        "DescribeBackups has no NextToken",
        "a new filter, hsmTypes",
        "ArchiveBackup is a new operation",
    ):
        assert sum(what in line for line in told) == 1, (what, told)
    assert len(told) == 10


def test_no_code_has_two_classes() -> None:
    """The codes of the classes do not overlap."""
    codes = [code for cls in ApiError.__subclasses__() for code in cls.codes]
    assert len(codes) == len(set(codes))


def test_filters_are_those_that_the_service_documents() -> None:
    """``describe_backups`` has a parameter for each documented filter and no other."""
    documentation = structure("DescribeBackupsRequest").members["Filters"].documentation
    for key in ("backupIds", "sourceBackupIds", "clusterIds", "states", "neverExpires"):
        assert f"<code>{key}</code>" in documentation
    parameters = set(inspect.signature(RestoreClient.describe_backups).parameters)
    assert parameters == {
        "self", "backup_ids", "source_backup_ids", "cluster_ids", "states", "never_expires",
    }  # fmt: skip


def test_operations_are_there() -> None:
    """The operations that we call exist, and take and give what we rely on."""
    assert structure("RestoreBackupRequest").required_members == ["BackupId"]
    assert set(structure("RestoreBackupResponse").members) == {"Backup"}
    assert set(structure("ModifyBackupAttributesRequest").required_members) == {"BackupId", "NeverExpires"}
    assert set(structure("DescribeBackupsResponse").members) == {"Backups", "NextToken"}


def test_everything_public_has_a_docstring() -> None:
    """Every public class and method says what it is."""
    for cls in [RestoreClient, Backup, Tag, BackupState, Mode, *map(vars(family).get, family.__all__)]:
        assert inspect.getdoc(cls), cls
        for name, member in vars(cls).items():
            if not name.startswith("_") and inspect.isfunction(member):
                assert inspect.getdoc(member), f"{cls}.{name}"
