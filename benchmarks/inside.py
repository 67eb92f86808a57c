"""What one call costs, without a network: pyperf's measure of ours and of raw boto3 (``make bench``).

botocore's event ``before-send`` may answer in place of the network; all the rest of botocore runs.

Ours and theirs take turns call by call, so that both have the same share of the moments in which the machine is
slow. What pyperf is given as seconds is therefore a ratio, ours to theirs.
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
REFUSED = b'{"__type": "CloudHsmInvalidRequestException", "Message": "The backup is READY."}'


class Tag(BaseModel):
    """What a wrapper has at the least."""

    Key: str
    Value: str


class Plain(BaseModel):
    """What a wrapper has at the least."""

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
    """A boto3 client, with default settings, that gets this answer to everything."""
    made = boto3.client("cloudhsmv2", region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE",
                        aws_secret_access_key="x", **options)  # fmt: skip

    def answer(**_: object) -> AWSResponse:
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "a-request-id"}
        return AWSResponse("https://127.0.0.1/", status, headers, _Raw(body))

    made.meta.events.register("before-send.cloudhsm-v2.*", answer)
    return made


def beside(ours: Callable[[], None], theirs: Callable[[], None]) -> Callable[[int], float]:
    """The time of ``ours`` as a multiple of that of ``theirs``, in the form that pyperf asks for."""

    def measure(loops: int) -> float:
        our_time = their_time = 0.0
        for _ in range(loops):
            began = perf_counter()
            ours()
            between = perf_counter()
            theirs()
            our_time += between - began
            their_time += perf_counter() - between
        return our_time / their_time * loops

    return measure


def main() -> None:
    """Measure, as pyperf's command line says."""
    runner = pyperf.Runner()
    raw, ours = client(200, RESTORED), RestoreClient(client(200, RESTORED))
    unchecked = client(200, RESTORED, config=Config(parameter_validation=False))
    raw_refused, ours_refused = client(400, REFUSED), RestoreClient(client(400, REFUSED))

    def raw_call() -> None:
        raw.restore_backup(BackupId=BACKUP_ID)

    def our_call() -> None:
        ours.restore_backup(BACKUP_ID)

    def unchecked_call() -> None:
        unchecked.restore_backup(BackupId=BACKUP_ID)

    def plain_call() -> None:
        Plain.model_validate(raw.restore_backup(BackupId=BACKUP_ID)["Backup"])

    def raw_error() -> None:
        try:
            raw_refused.restore_backup(BackupId=BACKUP_ID)
        except ClientError:
            pass

    def our_error() -> None:
        try:
            ours_refused.restore_backup(BACKUP_ID)
        except InvalidRequestError:
            pass

    runner.bench_time_func("ours, boto3", beside(our_call, raw_call))
    runner.bench_time_func("ours, plain model", beside(our_call, plain_call))
    runner.bench_time_func("plain model, boto3", beside(plain_call, raw_call))
    runner.bench_time_func("unchecked, boto3", beside(unchecked_call, raw_call))
    runner.bench_time_func("error, boto3", beside(our_error, raw_error))


if __name__ == "__main__":
    main()
