"""Mistakes with boto3 in play, one a line; boto3-stubs are what shows them."""

# A mistake and its marker stay on one line:
# fmt: off
# boto3-stubs have an overload for every service, and the types of a service are there only if installed.
# pyright: reportUnknownMemberType=false

import boto3
from botocore.config import Config

from cloudhsm_restore import RestoreClient
from cloudhsm_restore.aio import AsyncRestoreClient

RestoreClient(boto3.client("s3"))  # error: a client of another service
RestoreClient(boto3.client("cloudhsmv2"), config=Config())  # error: a client has its config
RestoreClient(boto3.client("cloudhsmv2"), session=boto3.Session())  # error: a client has its session
RestoreClient(boto3.Session())  # error: a session by position
RestoreClient(config={"read_timeout": 5})  # error: a dict is no Config
AsyncRestoreClient(boto3.client("s3"))  # error: a client of another service
AsyncRestoreClient(boto3.client("cloudhsmv2"), config=Config())  # error: a client has its config
