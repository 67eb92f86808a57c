"""`python -m tests.model [FILE]`: what to change here when AWS has changed the service model.

FILE is a service-2.json; without it, the one of the installed botocore is read. `tests/test_contract.py` fails
as soon as this prints anything.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, Final

import botocore
from botocore import xform_name
from botocore.loaders import Loader

from cloudhsm_restore import ApiError, Backup, BackupState, Mode, RestoreClient, Tag

SINCE: Final = (1, 35, 16)
"""The first botocore whose service model has all that is here. What an older one lacks is no mistake; whoever adds what
a newer one brought raises this to it."""
PYTHON: Final = {
    "string": "str", "boolean": "bool", "timestamp": "datetime", "integer": "int", "long": "int", "list": "tuple",
}  # fmt: skip
INPUT: Final = {
    "RestoreBackup": {"BackupId"},
    "ModifyBackupAttributes": {"BackupId", "NeverExpires"},
    "DescribeBackups": {"NextToken", "MaxResults", "Filters", "Shared", "SortAscending"},
}
"""What we send, or know of and leave out."""
OUTPUT: Final = {
    "RestoreBackup": {"Backup"},
    "ModifyBackupAttributes": {"Backup"},
    "DescribeBackups": {"Backups", "NextToken"},
}
OTHERS: Final = {"CopyBackupToRegion", "DeleteBackup"}
"""Operations on backups that we do not call."""


def is_followed() -> bool:
    """Whether the installed botocore has all that is here."""
    return tuple(int(part) for part in botocore.__version__.split(".")[:3]) >= SINCE


def load(path: Path | None = None) -> dict[str, Any]:
    """A service model; botocore's without a path."""
    if path is None:
        return dict(Loader().load_service_model("cloudhsmv2", "service-2"))
    raw = path.read_bytes()
    model: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return model


def changes(model: Mapping[str, Any]) -> Iterator[str]:
    """One line for each thing that stands in the service model and not here, or the other way round."""
    shapes: Mapping[str, Any] = model["shapes"]
    for name, cls in (("Backup", Backup), ("Tag", Tag)):
        yield from _members(name, cls, shapes)
    for name, enum in (("BackupState", BackupState), ("ClusterMode", Mode)):
        for value in sorted(set(shapes[name]["enum"]) ^ set(enum)):
            if value in set(enum):
                yield f"models.py, {enum.__name__}: {value} is gone from the service model. Keep it; old answers may hold it."
            else:
                also = (
                    ", and say in _state_machine.py, _NEXT_ACTION, what it means for a restore"
                    if enum is BackupState
                    else ""
                )
                yield f'models.py, {enum.__name__}: add {value} = "{value}" with a docstring{also}.'
    for name, known in INPUT.items():
        operation = model["operations"].get(name)
        if operation is None:
            yield f"client.py and aio.py: the operation {name} is gone."
            continue
        yield from _operation(name, known, operation, shapes)
    for name in sorted(model["operations"]):
        if "Backup" in name and name not in INPUT and name not in OTHERS:
            yield f"{name} is a new operation on backups. Does a restore need it? If not, add it to OTHERS in tests/model.py."


def _members(name: str, cls: type[Backup] | type[Tag], shapes: Mapping[str, Any]) -> Iterator[str]:
    members, required = shapes[name]["members"], set(shapes[name].get("required", ()))
    fields = {str(info.alias): info for info in cls.model_fields.values()}
    for member in sorted(members.keys() - fields.keys()):
        kind = shapes[members[member]["shape"]]["type"]
        python = PYTHON.get(kind, f"object  # {kind}: decide")
        said = re.sub(r"<[^>]+>|\s+", " ", members[member].get("documentation", "")).strip()
        optional = "" if member in required else " | None = None"
        yield f'models.py, {cls.__name__}: add {xform_name(member)}: {python}{optional}, in its constructor too. AWS says: "{said}"'
    for member in sorted(fields.keys() - members.keys()):
        yield f"models.py, {cls.__name__}: {member} is gone from the service model. Keep it until the next major version."
    for member in sorted(fields.keys() & members.keys()):
        if fields[member].is_required() != (member in required):
            yield f"models.py, {cls.__name__}: {member} is {'now' if member in required else 'no longer'} required."


def _operation(
    name: str, known: set[str], operation: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Iterator[str]:
    for side, expected in (("input", known), ("output", OUTPUT[name])):
        members = set(shapes[operation[side]["shape"]]["members"])
        for member in sorted(members - expected):
            verb = "takes" if side == "input" else "answers with"
            yield f"client.py and aio.py: {name} {verb} {member} now. Use it, or add it to {side.upper()} in tests/model.py."
        for member in sorted(expected - members):
            yield f"client.py and aio.py: {name} has no {member} in its {side} any more."
    codes = {code for cls in ApiError.__subclasses__() for code in cls.codes}
    for error in operation.get("errors", ()):
        code = error["shape"]
        if code not in codes:
            new = code.removeprefix("CloudHsm").removesuffix("Exception") + "Error"
            yield (
                f'exceptions.py: {name} raises {code}: add class {new}(ApiError) with codes = ("{code}",), '
                "to __all__, to __init__.py and to docs/reference/exceptions.md."
            )
    if name == "DescribeBackups":
        documentation = shapes[operation["input"]["shape"]]["members"]["Filters"]["documentation"]
        parameters = set(signature(RestoreClient.describe_backups).parameters)
        for word in sorted(set(re.findall(r"<code>(\w+)</code> filter", documentation))):
            if xform_name(word) not in parameters:
                yield f"client.py and aio.py, describe_backups: there is a new filter, {word}."


def main(arguments: list[str]) -> int:
    """Print what to change; status 1 if there is anything."""
    found = list(changes(load(Path(arguments[0]) if arguments else None)))
    print("\n".join(found) or "Nothing is to be changed.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
