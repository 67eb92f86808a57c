"""Values: any JSON as a backup, any arguments for a client."""

# pyright: basic

import json
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from pydantic import ValidationError

from cloudhsm_restore import Backup, ParameterError, RestoreClient, RestoreError

from ..raw_server import in_process
from .checks import check_backup, check_error, holds
from .sizes import KEY, TOKEN


def model(data: bytes) -> None:
    """Check that any JSON is a `Backup` or a ``ValidationError``, whether pydantic parses it or Python."""
    try:
        check_backup(Backup.model_validate_json(data))
    except ValidationError as error:
        str(error)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        backup = Backup.model_validate(value)
    except ValidationError as error:
        str(error)
        return
    check_backup(backup)


@cache
def _session() -> boto3.Session:
    return boto3.Session("AKIAEXAMPLE", KEY, TOKEN, region_name="us-east-1")


def _respond(**_: object) -> Any:
    return in_process(b'{"Backup": {"BackupId": "backup-a2b3c4d5e6f"}, "Backups": []}')


def _password(url: str) -> str:
    """Return the password of a URL: from the first colon of the user information to the last @."""
    authority = url.partition("//")[2].partition("/")[0]
    return authority.rpartition("@")[0].partition(":")[2]


def arguments(data: bytes) -> None:
    """Check that any endpoint, region, ID, and filter give a result or a `RestoreError`. Nothing is sent.

    The input is lines: the endpoint, the region, the backup ID, and filters. An empty one is left out.
    """
    text = data[:2_000].decode("utf-8", "surrogateescape" if data[:1] == b"\xff" else "replace")
    endpoint, region, backup_id, *filters = [*text.split("\n"), "", "", ""]
    config: Any = Config(proxies={}, retries={"total_max_attempts": 1})
    password = _password(endpoint)
    secrets = {KEY, TOKEN} | ({password} if len(password) > 7 else set())
    try:
        client = RestoreClient(
            session=_session(),
            endpoint_url=endpoint or "http://127.0.0.1:1",
            region_name=region or None,
            config=config,
        )
    except RestoreError as error:
        check_error(error, secrets)
        return
    # The handler returns the response, so boto3 does not connect.
    client._client.meta.events.register("before-send.cloudhsm-v2", _respond)
    secrets = {secret for secret in secrets if secret not in backup_id}  # The report names the ID.
    with client:
        for call in (client.restore_backup, client.get_backup):
            try:
                holds(call(backup_id).backup_id == backup_id, "another backup")
            except RestoreError as error:
                check_error(error, secrets)
                holds(not isinstance(error, ParameterError) or not error.outcome_unknown, "nothing was sent")
        try:
            list(client.describe_backups(states=filters, cluster_ids=[region, backup_id]))
        except RestoreError as error:
            check_error(error, secrets)
