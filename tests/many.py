"""Restores all pending backups and tells how: a process of its own, for tests that measure or kill it.

Prints a line for each result as it comes, and at the end what it took.
"""

import resource
import sys
import time

from botocore.config import Config

from cloudhsm_restore import RestoreClient


def peak_mib() -> float:
    """The most memory that this process has had so far, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 / (1024 if sys.platform == "darwin" else 1)


def main() -> None:
    """Restore what is pending, from a generator, at the endpoint of the environment."""
    with RestoreClient(config=Config(proxies={})) as client:
        ids = [backup.backup_id for backup in client.describe_backups(states=["PENDING_DELETION"])]
        client.get_backup(ids[0])  # connections and code are warm from here on
        before, began = peak_mib(), time.perf_counter()
        for result in client.restore_backups(backup_id for backup_id in ids):
            print(result.backup_id, "restored" if result.ok else result.error, flush=True)
        print(f"end {peak_mib() - before:.3f} MiB {time.perf_counter() - began:.3f} s", flush=True)


if __name__ == "__main__":
    main()
