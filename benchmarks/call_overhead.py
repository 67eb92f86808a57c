"""The time of a call, an error, and a warm Lambda invocation, of the library and of boto3, without a network.

    python -m benchmarks.call_overhead   prints the seconds of each as JSON

A handler of botocore's event ``before-send`` returns the response; the rest of botocore runs unchanged. The
calls alternate, so that all have the same share of the moments in which the machine is slow. The time is the
processor's, which does not count other processes.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from time import process_time
from typing import Any, Final

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import BaseModel

from benchmarks.server import BACKUP, RESTORED
from cloudhsm_restore import InvalidRequestError, RestoreClient

LOOPS: Final = 400
BACKUP_ID: Final = BACKUP["BackupId"]
REJECTED: Final = b'{"__type": "CloudHsmInvalidRequestException", "Message": "The backup is READY."}'
PAGE: Final = Path(__file__).parent.parent / "docs/how-to/aws-lambda.md"


class Tag(BaseModel):
    """The least that a wrapper needs."""

    Key: str
    Value: str


class Plain(BaseModel):
    """The least that a wrapper needs."""

    BackupId: str
    BackupArn: str | None = None
    BackupState: str | None = None
    ClusterId: str | None = None
    CreateTimestamp: datetime | None = None
    NeverExpires: bool | None = None
    TagList: list[Tag] = []
    HsmType: str | None = None
    Mode: str | None = None


class Context:
    """The part of Lambda's context that a handler needs."""

    def get_remaining_time_in_millis(self) -> int:
        """Return five minutes."""
        return 300_000


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


def respond(status: int, body: bytes) -> None:
    """Make each client that boto3's default session creates from now on receive this response."""

    exempt = body.replace(b'"NeverExpires": false', b'"NeverExpires": true')

    def response(event_name: str, **_: object) -> AWSResponse:
        content = exempt if event_name.endswith("ModifyBackupAttributes") else body
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "a-request-id"}
        return AWSResponse("https://127.0.0.1/", status, headers, _Raw(content))

    boto3.setup_default_session(
        region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x"
    )
    boto3.DEFAULT_SESSION.events.register("before-send.cloudhsm-v2.*", response)


def library_call() -> Callable[[], object]:
    """Return a call of the library."""
    respond(200, RESTORED)
    client = RestoreClient()
    return lambda: client.restore_backup(BACKUP_ID)


def boto3_call(**options: Any) -> Callable[[], Any]:
    """Return a call of boto3."""
    respond(200, RESTORED)
    client = boto3.client("cloudhsmv2", **options)
    return lambda: client.restore_backup(BackupId=BACKUP_ID)


def plain_call() -> Callable[[], object]:
    """Return a call of boto3 whose response becomes a plain pydantic model."""
    call = boto3_call()
    return lambda: Plain.model_validate(call()["Backup"])


def library_error() -> Callable[[], object]:
    """Return a call of the library that the service rejects."""
    respond(400, REJECTED)
    client = RestoreClient()

    def call() -> None:
        try:
            client.restore_backup(BACKUP_ID)
        except InvalidRequestError:
            pass

    return call


def boto3_error() -> Callable[[], object]:
    """Return a call of boto3 that the service rejects."""
    respond(400, REJECTED)
    client = boto3.client("cloudhsmv2")

    def call() -> None:
        try:
            client.restore_backup(BackupId=BACKUP_ID)
        except ClientError:
            pass

    return call


def library_lambda() -> Callable[[], object]:
    """Return an invocation of the handler in docs/how-to/aws-lambda.md, which sends two requests."""
    respond(200, RESTORED)
    page: dict[str, Any] = {}
    exec(PAGE.read_text("utf-8").partition("```python\n")[2].partition("```\n")[0], page)
    handler, event, context = page["handler"], {"backup_id": BACKUP_ID}, Context()
    return lambda: handler(event, context)


def boto3_lambda() -> Callable[[], object]:
    """Return an invocation of a handler that sends the same two requests with boto3."""
    respond(200, RESTORED)
    config = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
    client = boto3.client("cloudhsmv2", config=config)

    def handler(event: dict[str, Any], _context: Any) -> dict[str, str]:
        client.restore_backup(BackupId=event["backup_id"])
        response = client.modify_backup_attributes(BackupId=event["backup_id"], NeverExpires=True)
        return {"backup_id": response["Backup"]["BackupId"], "state": response["Backup"]["BackupState"]}

    event, context = {"backup_id": BACKUP_ID}, Context()
    return lambda: handler(event, context)


SUBJECTS: Final[dict[str, Callable[[], Callable[[], object]]]] = {
    "library call": library_call,
    "boto3 call": boto3_call,
    "plain call": plain_call,
    "unchecked call": lambda: boto3_call(config=Config(parameter_validation=False)),
    "library error": library_error,
    "boto3 error": boto3_error,
    "library lambda": library_lambda,
    "boto3 lambda": boto3_lambda,
}
"""What is measured: each function prepares a call and returns it."""


def main() -> None:
    """Print the seconds of processor time of one call of each."""
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    calls = {name: prepare() for name, prepare in SUBJECTS.items()}
    seconds = dict.fromkeys(calls, 0.0)
    for call in calls.values():
        call()
    for _ in range(LOOPS):
        for name, call in calls.items():
            began = process_time()
            call()
            seconds[name] += process_time() - began
    json.dump({name: total / LOOPS for name, total in seconds.items()}, sys.stdout)


if __name__ == "__main__":
    main()
