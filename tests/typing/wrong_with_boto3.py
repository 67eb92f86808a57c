"""Mistakes that only boto3-stubs reveals, one on each line."""

# A mistake and its mark have to stay on one line:
# fmt: off
# boto3-stubs has an overload for every service, and the types of a service only if they are installed.
# pyright: reportUnknownMemberType=false

import boto3
from botocore.config import Config

from cloudhsm_restore import RestoreClient
from cloudhsm_restore.aio import AsyncRestoreClient

RestoreClient(boto3.client("s3"))  # error: a client of another service
RestoreClient(boto3.client("cloudhsmv2"), config=Config())  # error: a client has its config
RestoreClient(boto3.client("cloudhsmv2"), session=boto3.Session())  # error: a client has its session
RestoreClient(boto3.Session())  # error: a session by position
RestoreClient(config={"read_timeout": 5})  # error: a dict is not a Config
AsyncRestoreClient(boto3.client("s3"))  # error: a client of another service
AsyncRestoreClient(boto3.client("cloudhsmv2"), config=Config())  # error: a client has its config
