"""What the tests of the command line share."""

import json
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import jsonschema

from cloudhsm_restore.testing import LocalCloudHsm

from ..terminal import Ran

Call = Callable[..., Ran]

SECRET = "c0nspicuous-Secret"
ESCAPE = "\x1b"
SCHEMA = json.loads(files("cloudhsm_restore.cli").joinpath("schema.json").read_text())


def pending(service: LocalCloudHsm, number: int = 1, **fields: Any) -> list[str]:
    """Add backups that are pending deletion."""
    return [service.add_backup(backup_state="PENDING_DELETION", **fields).backup_id for _ in range(number)]


def states(service: LocalCloudHsm) -> Counter[str]:
    """Count the backups in each state."""
    return Counter(str(backup.backup_state) for backup in service.backups.values())


def here(service: LocalCloudHsm) -> str:
    """Return the target as messages name it."""
    return f"region us-east-1, endpoint {service.endpoint_url}"


def summary(service: LocalCloudHsm, counts: str, account: str = "111122223333") -> str:
    """Return the last line of a report."""
    return f"{counts} (account {account}, {here(service)})."


def calls(service: LocalCloudHsm) -> set[str]:
    """Return the operations that were called."""
    return {request.operation for request in service.requests}


def valid(kind: str, item: Any) -> Any:
    """Return the item, which the published schema accepts."""
    schema = {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{kind}"}]}
    jsonschema.validate(item, schema, jsonschema.Draft202012Validator)
    return item


def records(text: str) -> list[Any]:
    """Return the records in JSON Lines."""
    return [valid("record", json.loads(line)) for line in text.splitlines()]


def outcomes(text: str) -> dict[str, str]:
    """Return the outcome of each backup in JSON Lines."""
    written = records(text)
    named = {record["backup_id"]: record["outcome"] for record in written}
    assert len(named) == len(written)
    return named
