"""Restores all pending backups: a program for tests and benchmarks that measure its process or kill it.

It prints a line for each result, and at the end the growth of its memory and the time that it took.
"""

import resource
import sys
import time

from botocore.config import Config

from cloudhsm_restore import RestoreClient


def peak_mib() -> float:
    """Return the peak memory of this process, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def main() -> None:
    """Restore all pending backups at the endpoint of the environment, from a generator of IDs."""
    with RestoreClient(config=Config(proxies={})) as client:
        ids = [backup.backup_id for backup in client.describe_backups(states=["PENDING_DELETION"])]
        client.get_backup(ids[0])  # Opens a connection and imports what a call needs.
        before, began = peak_mib(), time.perf_counter()
        for result in client.restore_backups(backup_id for backup_id in ids):
            print(result.backup_id, "restored" if result.ok else result.error, flush=True)
        print(f"end {peak_mib() - before:.3f} MiB {time.perf_counter() - began:.3f} s", flush=True)


if __name__ == "__main__":
    main()
