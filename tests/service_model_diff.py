"""`python -m tests.service_model_diff [FILE]`: what to change here after AWS has changed the service model.

FILE is a service-2.json; without it, that of the installed botocore is read. `tests/test_contract.py` fails
if this prints a difference.
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
"""The first botocore whose service model has everything that this library has. Raise it with an addition."""
PYTHON: Final = {
    "string": "str", "boolean": "bool", "timestamp": "datetime", "integer": "int", "long": "int", "list": "tuple",
}  # fmt: skip
INPUT: Final = {
    "RestoreBackup": {"BackupId"},
    "ModifyBackupAttributes": {"BackupId", "NeverExpires"},
    "DescribeBackups": {"NextToken", "MaxResults", "Filters", "Shared", "SortAscending"},
}
"""The parameters that the library sends, or deliberately does not send."""
OUTPUT: Final = {
    "RestoreBackup": {"Backup"},
    "ModifyBackupAttributes": {"Backup"},
    "DescribeBackups": {"Backups", "NextToken"},
}
UNUSED: Final = {"CopyBackupToRegion", "DeleteBackup"}
"""Operations on backups that the library does not call."""


def is_followed() -> bool:
    """Return whether the installed botocore has everything that this library has."""
    return tuple(int(part) for part in botocore.__version__.split(".")[:3]) >= SINCE


def load(path: Path | None = None) -> dict[str, Any]:
    """Return the service model of a file, or botocore's without one."""
    if path is None:
        return dict(Loader().load_service_model("cloudhsmv2", "service-2"))
    raw = path.read_bytes()
    model: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return model


def changes(model: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each difference between the service model and this library."""
    shapes: Mapping[str, Any] = model["shapes"]
    for name, cls in (("Backup", Backup), ("Tag", Tag)):
        yield from _members(name, cls, shapes)
    for name, enum in (("BackupState", BackupState), ("ClusterMode", Mode)):
        for value in sorted(set(shapes[name]["enum"]) ^ set(enum)):
            if value in set(enum):
                yield f"models.py, {enum.__name__}: {value} is no longer in the service model. Keep it, because stored responses may have it."
            else:
                also = (
                    ", and add its next action to _NEXT_ACTION in _state_machine.py"
                    if enum is BackupState
                    else ""
                )
                yield f'models.py, {enum.__name__}: add {value} = "{value}" with a docstring{also}.'
    for name, known in INPUT.items():
        operation = model["operations"].get(name)
        if operation is None:
            yield f"client.py and aio.py: the operation {name} is no longer in the service model."
            continue
        yield from _operation(name, known, operation, shapes)
    for name in sorted(model["operations"]):
        if "Backup" in name and name not in INPUT and name not in UNUSED:
            yield f"{name} is a new operation on backups. Does a restore need it? If not, add it to UNUSED in tests/service_model_diff.py."


def _members(name: str, cls: type[Backup] | type[Tag], shapes: Mapping[str, Any]) -> Iterator[str]:
    members, required = shapes[name]["members"], set(shapes[name].get("required", ()))
    fields = {str(info.alias): info for info in cls.model_fields.values()}
    for member in sorted(members.keys() - fields.keys()):
        kind = shapes[members[member]["shape"]]["type"]
        python = PYTHON.get(kind, f"object  # {kind}: decide")
        documentation = re.sub(r"<[^>]+>|\s+", " ", members[member].get("documentation", "")).strip()
        optional = "" if member in required else " | None = None"
        yield f'models.py, {cls.__name__}: add {xform_name(member)}: {python}{optional}, in its constructor too. Documentation: "{documentation}"'
    for member in sorted(fields.keys() - members.keys()):
        yield f"models.py, {cls.__name__}: {member} is no longer in the service model. Keep it until the next major version."
    for member in sorted(fields.keys() & members.keys()):
        if fields[member].is_required() != (member in required):
            yield f"models.py, {cls.__name__}: {member} is {'now' if member in required else 'no longer'} required."


def _operation(
    name: str, known: set[str], operation: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Iterator[str]:
    for side, expected in (("input", known), ("output", OUTPUT[name])):
        members = set(shapes[operation[side]["shape"]]["members"])
        for member in sorted(members - expected):
            verb = "accepts" if side == "input" else "returns"
            yield f"client.py and aio.py: {name} {verb} {member} now. Use it, or add it to {side.upper()} in tests/service_model_diff.py."
        for member in sorted(expected - members):
            yield f"client.py and aio.py: {name} no longer has {member} in its {side}."
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
    """Print the differences, and return status 1 if there is one."""
    found = list(changes(load(Path(arguments[0]) if arguments else None)))
    print("\n".join(found) or "No differences.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
