"""The programs for type checkers use the whole public API. The type checkers run in `make types`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloudhsm_restore
from cloudhsm_restore import Backup, BackupState, Mode, Tag
from cloudhsm_restore.testing import BackupFields

PACKAGE = Path(cloudhsm_restore.__file__).parent
APPLICATION = [
    ast.parse(file.read_text(encoding="utf-8"))
    for file in (Path(__file__).parent / "typing").glob("*.py")
    if not file.name.startswith("wrong")
]


def used() -> Iterator[str]:
    """Yield every name and attribute that the application uses; an import alone does not count."""
    for tree in APPLICATION:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                yield node.id
            elif isinstance(node, ast.Attribute):
                yield node.attr


def exported(module: str) -> list[str]:
    """Return the ``__all__`` of a module without importing it."""
    for statement in ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(statement.value)
            return names
    raise AssertionError(f"{module} has no __all__")


def members(module: str, name: str) -> set[str]:
    """Return the public methods, properties, and fields that a class defines."""
    for statement in ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            functions = {
                each.name
                for each in statement.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            fields = {
                each.target.id
                for each in statement.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            }
            return {each for each in functions | fields if not each.startswith("_")}
    raise AssertionError(f"{module} has no {name}")


@pytest.mark.parametrize("module", ["__init__.py", "aio.py", "testing/__init__.py"])
def test_every_public_name_is_checked(module: str) -> None:
    """`tests/typing` uses every name of ``__all__``."""
    assert set(exported(module)) - set(used()) == set()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("client.py", "RestoreClient"),
        ("aio.py", "AsyncRestoreClient"),
        ("models.py", "Backup"),
        ("models.py", "Tag"),
        ("models.py", "RestoreResult"),
        ("exceptions.py", "RestoreError"),
        ("exceptions.py", "UnexpectedResponseError"),
        ("exceptions.py", "ApiError"),
        ("testing/_stubber.py", "RestoreStubber"),
        ("testing/_local.py", "LocalCloudHsm"),
        ("testing/_local.py", "ReceivedRequest"),
    ],
)
def test_every_public_member_is_checked(module: str, name: str) -> None:
    """`tests/typing` uses every public method, property, and field."""
    missing = members(module, name) - set(used()) - {"model_post_init"}
    assert missing == set()


def test_the_constructor_names_every_field() -> None:
    """The constructor of Backup and the helpers for tests have the fields of the model, and no other."""
    [backup] = [
        node
        for node in ast.walk(ast.parse((PACKAGE / "models.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name == "Backup"
    ]
    [constructor] = [
        node for node in ast.walk(backup) if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    assert [argument.arg for argument in constructor.args.kwonlyargs] == list(Backup.model_fields)
    assert list(BackupFields.__annotations__) == list(Backup.model_fields)


def test_the_constructor_accepts_its_annotations() -> None:
    """A state and a mode can be strings, and tags any iterable; the fields have their annotated types."""
    tags = ({"Key": key, "Value": "x"} for key in "ab")
    backup = Backup(
        backup_id="backup-1", backup_state="READY", mode="NEW", tag_list=[*tags, Tag(key="c", value="x")]
    )
    assert backup.backup_state is BackupState.READY
    assert isinstance(backup.mode, Mode)
    assert Backup(backup_id="backup-1", tag_list=(tag for tag in backup.tag_list)).tag_list == backup.tag_list
    assert list(backup.tags) == ["a", "b", "c"]
