"""Helpers for tests of code that uses this library. They need no credentials, no Region, and no network.

`RestoreStubber` and `AsyncRestoreStubber` queue responses for a client. `LocalCloudHsm` is a backup service
on 127.0.0.1 with fault injection. `backup_response` returns a response for botocore's own ``Stubber``.
Nothing in the environment changes what a test sees.
"""

from ._faults import Fault
from ._local import LocalCloudHsm, ReceivedRequest
from ._responses import BackupFields, backup_response
from ._stubber import AsyncRestoreStubber, RestoreStubber

__all__ = [
    "AsyncRestoreStubber",
    "BackupFields",
    "Fault",
    "LocalCloudHsm",
    "ReceivedRequest",
    "RestoreStubber",
    "backup_response",
]
