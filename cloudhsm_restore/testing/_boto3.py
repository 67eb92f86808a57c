"""boto3 clients that depend on nothing around them: no environment, no files, no proxy."""

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE", "for-tests-only"


_making = threading.Lock()


@cache
def _session(region_name: str) -> "boto3.Session":
    # Kept, for the first client of a session takes many times as long as the next.
    import boto3
    import botocore.session

    nowhere = (None, None, os.devnull, None)
    unset = (None, None, None, None)
    return boto3.Session(
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        region_name=region_name,
        botocore_session=botocore.session.Session(
            {"config_file": nowhere, "credentials_file": nowhere, "profile": unset}
        ),
    )


def make_boto3_client(
    endpoint_url: str | None, region_name: str, config: "Config | None" = None
) -> "CloudHSMV2Client":
    """A boto3 client for tests; ``config`` comes before its defaults."""
    from botocore.config import Config

    ours = Config(proxies={}, connect_timeout=5, read_timeout=5)
    with _making:  # sessions are not thread-safe
        client: CloudHSMV2Client = _session(region_name).client(
            "cloudhsmv2", endpoint_url=endpoint_url, config=ours.merge(config) if config else ours
        )
    return client
