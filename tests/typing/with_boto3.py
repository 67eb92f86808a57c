"""Code that uses boto3 and this library. Type checkers read it; it is never run."""

# boto3-stubs has an overload for every service, and the types of a service only if they are installed.
# pyright: reportUnknownMemberType=false

from typing import assert_type

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

from cloudhsm_restore import ApiError, Backup, InvalidRequestError, RestoreClient
from cloudhsm_restore.aio import AsyncRestoreClient
from cloudhsm_restore.testing import LocalCloudHsm, backup_response

RestoreClient(boto3.client("cloudhsmv2", region_name="eu-central-1"))
RestoreClient(boto3.Session(profile_name="recovery").client("cloudhsmv2"))
RestoreClient(client=boto3.client("cloudhsmv2"))
RestoreClient(
    session=boto3.Session(), config=Config(max_pool_connections=32), endpoint_url="http://127.0.0.1:8080"
)
AsyncRestoreClient(boto3.client("cloudhsmv2", region_name="eu-central-1"))
AsyncRestoreClient(session=boto3.Session(), config=Config(max_pool_connections=32))
AsyncRestoreClient(config=Config(read_timeout=5))


def restore(client: CloudHSMV2Client) -> Backup:
    return RestoreClient(client).restore_backup("backup-a2b3c4d5e6f")


async def restore_asynchronously(client: CloudHSMV2Client) -> Backup:
    return await AsyncRestoreClient(client).restore_backup("backup-a2b3c4d5e6f")


def from_a_response(client: CloudHSMV2Client) -> Backup:
    return Backup.model_validate(client.restore_backup(BackupId="backup-a2b3c4d5e6f")["Backup"])


def client_errors(client: RestoreClient) -> str:
    try:
        return client.restore_backup("backup-a2b3c4d5e6f").backup_id
    except ClientError as error:
        return str(error.response.get("Error", {}).get("Code"))


is_a_client_error: ClientError = InvalidRequestError({}, "RestoreBackup")
are_client_errors: type[ClientError] = ApiError


def test_with_botocores_stubber() -> None:
    client = boto3.client("cloudhsmv2", region_name="us-east-1")
    with Stubber(client) as stubber:
        response = backup_response(backup_id="backup-a2b3c4d5e6f")
        stubber.add_response("restore_backup", response, {"BackupId": "backup-a2b3c4d5e6f"})
        assert_type(RestoreClient(client).restore_backup("backup-a2b3c4d5e6f"), Backup)


def test_with_the_local_service() -> None:
    with LocalCloudHsm() as service:
        assert_type(service.boto3_client(Config(retries={"max_attempts": 2})), CloudHSMV2Client)
        assert_type(service.client(config=Config(read_timeout=5)), RestoreClient)
