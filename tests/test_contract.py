"""The types against botocore's own service model: what AWS adds shows here first, and users lose nothing."""

import inspect
from datetime import UTC, datetime

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, StringShape, StructureShape
from pydantic.fields import FieldInfo

from cloudhsm_restore import ApiError, Backup, BackupState, Mode, RestoreClient, Tag
from cloudhsm_restore import exceptions as family

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
    assert set(fields) == set(shape.members)
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
    """Each enum has the service model's values, no more and no fewer."""
    values = MODEL.shape_for(shape)
    assert isinstance(values, StringShape)
    assert [member.value for member in enum] == values.enum


@pytest.mark.parametrize("operation", CALLED)
def test_every_modelled_exception_has_its_class(operation: str) -> None:
    """Every exception that the model lists for an operation that we call has a class of its own."""
    for shape in MODEL.operation_model(operation).error_shapes:
        owners = [cls for cls in ApiError.__subclasses__() if shape.name in cls.codes]
        assert len(owners) == 1, shape.name
        assert owners[0].__name__ == shape.name.removeprefix("CloudHsm").replace("Exception", "Error")


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
