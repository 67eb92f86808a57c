"""The time of one call of the library and of boto3, without a network, with pyperf (``make bench``).

A handler of botocore's event ``before-send`` returns the response; the rest of botocore runs unchanged.

The calls alternate, so that both have the same share of the moments in which the machine is slow. The seconds
that pyperf receives are therefore a ratio: the library's time divided by the other's.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from time import perf_counter
from typing import Any

import boto3
import pyperf
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import BaseModel

from benchmarks.server import BACKUP, RESTORED
from cloudhsm_restore import InvalidRequestError, RestoreClient

BACKUP_ID = BACKUP["BackupId"]
REJECTED = b'{"__type": "CloudHsmInvalidRequestException", "Message": "The backup is READY."}'


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


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


def client(status: int, body: bytes, **options: Any) -> Any:
    """Create a boto3 client with default settings whose every response is this one."""
    created = boto3.client("cloudhsmv2", region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE",
                           aws_secret_access_key="x", **options)  # fmt: skip

    def respond(**_: object) -> AWSResponse:
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "a-request-id"}
        return AWSResponse("https://127.0.0.1/", status, headers, _Raw(body))

    created.meta.events.register("before-send.cloudhsm-v2.*", respond)
    return created


def ratio(subject: Callable[[], None], baseline: Callable[[], None]) -> Callable[[int], float]:
    """Return a function for pyperf that returns the time of ``subject`` divided by that of ``baseline``."""

    def measure(loops: int) -> float:
        subject_time = baseline_time = 0.0
        for _ in range(loops):
            began = perf_counter()
            subject()
            between = perf_counter()
            baseline()
            subject_time += between - began
            baseline_time += perf_counter() - between
        return subject_time / baseline_time * loops

    return measure


def main() -> None:
    """Measure with the options of pyperf's command line."""
    runner = pyperf.Runner()
    raw, library = client(200, RESTORED), RestoreClient(client(200, RESTORED))
    unchecked = client(200, RESTORED, config=Config(parameter_validation=False))
    raw_rejected, library_rejected = client(400, REJECTED), RestoreClient(client(400, REJECTED))

    def raw_call() -> None:
        raw.restore_backup(BackupId=BACKUP_ID)

    def library_call() -> None:
        library.restore_backup(BACKUP_ID)

    def unchecked_call() -> None:
        unchecked.restore_backup(BackupId=BACKUP_ID)

    def plain_call() -> None:
        Plain.model_validate(raw.restore_backup(BackupId=BACKUP_ID)["Backup"])

    def raw_error() -> None:
        try:
            raw_rejected.restore_backup(BackupId=BACKUP_ID)
        except ClientError:
            pass

    def library_error() -> None:
        try:
            library_rejected.restore_backup(BACKUP_ID)
        except InvalidRequestError:
            pass

    runner.bench_time_func("library, boto3", ratio(library_call, raw_call))
    runner.bench_time_func("library, plain model", ratio(library_call, plain_call))
    runner.bench_time_func("plain model, boto3", ratio(plain_call, raw_call))
    runner.bench_time_func("unchecked, boto3", ratio(unchecked_call, raw_call))
    runner.bench_time_func("error, boto3", ratio(library_error, raw_error))


if __name__ == "__main__":
    main()
