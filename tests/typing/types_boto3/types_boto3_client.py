"""Code whose boto3 is typed by types-boto3, which has classes of its own. Type checkers read it."""

# A mistake and its mark have to stay on one line:
# fmt: off
# types-boto3 has an overload for every service, and the types of a service only if they are installed.
# pyright: reportUnknownMemberType=false

from typing import assert_type

import boto3
from botocore.config import Config
from types_boto3_cloudhsmv2 import CloudHSMV2Client

from cloudhsm_restore import Backup, RestoreClient
from cloudhsm_restore.aio import AsyncRestoreClient


def restore(client: CloudHSMV2Client) -> None:
    assert_type(RestoreClient(client).restore_backup("backup-a2b3c4d5e6f"), Backup)


async def restore_asynchronously(client: CloudHSMV2Client) -> None:
    assert_type(await AsyncRestoreClient(client).restore_backup("backup-a2b3c4d5e6f"), Backup)


RestoreClient(boto3.client("cloudhsmv2"))
RestoreClient(client=boto3.client("cloudhsmv2"))
AsyncRestoreClient(boto3.client("cloudhsmv2"))
RestoreClient(session=boto3.Session())

RestoreClient(boto3.client("s3"))  # error: a client of another service
AsyncRestoreClient(boto3.client("s3"))  # error: a client of another service
RestoreClient(boto3.client("cloudhsmv2"), config=Config())  # error: a client has its config
RestoreClient(boto3.Session())  # error: a session by position
