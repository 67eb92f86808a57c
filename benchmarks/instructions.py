"""The instructions of one call and of one error, of the library and of boto3, which hardly vary on a noisy machine.

Usage: python -m benchmarks.instructions, with valgrind (https://valgrind.org) installed. It takes a few minutes.

Each figure is the difference of two runs under callgrind, with more and with fewer calls, so that the start of
the process is not in it. A handler of botocore's event ``before-send`` returns the response.
"""

import gc
import os
import re
import subprocess
import sys
from contextlib import suppress
from typing import Final

from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.call_overhead import BACKUP_ID, REJECTED, client
from benchmarks.server import RESTORED
from cloudhsm_restore import RestoreClient

RESPONSES: Final = {"one call": (200, RESTORED), "one error": (400, REJECTED)}
FEW, MANY = 20, 60


def call(what: str, who: str, times: int) -> None:
    """Call ``restore_backup`` this often."""
    status, body = RESPONSES[what]
    boto3_client = client(status, body, config=Config(retries={"total_max_attempts": 1}))
    library = RestoreClient(boto3_client) if who == "library" else None
    gc.disable()
    for _ in range(times):
        with suppress(ClientError):  # The library's error for it is one too.
            if library is not None:
                library.restore_backup(BACKUP_ID)
            else:
                boto3_client.restore_backup(BackupId=BACKUP_ID)


def instructions(what: str, who: str) -> int:
    """Return the instructions of one call."""
    few, many = (_collected(what, who, times) for times in (FEW, MANY))
    return (many - few) // (MANY - FEW)


def _collected(what: str, who: str, times: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    run = subprocess.run(
        [*command, "-m", "benchmarks.instructions", what, who, str(times)],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Collected : (\d+)", run.stderr)
    assert found, run.stderr
    return int(found[1])


if __name__ == "__main__":
    if len(sys.argv) == 4:
        call(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        for what in RESPONSES:
            library, boto3 = instructions(what, "library"), instructions(what, "boto3")
            print(f"{what}: {library:,} and {boto3:,} instructions, ratio {library / boto3:.3f}")
