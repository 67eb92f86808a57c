"""For tests of code that uses this library: nothing here needs credentials, a region or a network.

`RestoreStubber` queues answers in front of a `RestoreClient`; `LocalCloudHsm` is a backup service on
127.0.0.1 with faults to order; `backup_response` makes an answer for botocore's own ``Stubber``.
"""

from ._faults import Fault
from ._local import LocalCloudHsm, ReceivedRequest
from ._responses import BackupFields, backup_response
from ._stubber import RestoreStubber

__all__ = [
    "BackupFields",
    "Fault",
    "LocalCloudHsm",
    "ReceivedRequest",
    "RestoreStubber",
    "backup_response",
]
