"""64 threads on one client for a minute: no mixed answers.

    python -m tests.soak [seconds]

Each thread deletes and restores a backup of its own, over and over, looks at it in between, and checks that
what it is told is about its own backup and true.
"""

import sys
import threading
import time

from botocore.config import Config

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import LocalCloudHsm

THREADS = 64


def main() -> None:
    """Run, and say how many answers were checked."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    checked = [0] * THREADS
    mixed: list[str] = []
    with LocalCloudHsm() as service:
        theirs = service.boto3_client(Config(max_pool_connections=THREADS, read_timeout=30))
        client = service.client(Config(max_pool_connections=THREADS, read_timeout=30))
        until = time.monotonic() + seconds

        def work(number: int) -> None:
            backup_id = service.add_backup(hsm_type=f"hsm{number}.medium").backup_id
            while time.monotonic() < until and not mixed:
                theirs.delete_backup(BackupId=backup_id)
                for backup, state in (
                    (client.get_backup(backup_id), BackupState.PENDING_DELETION),
                    (client.restore_backup(backup_id), BackupState.READY),
                    (client.ensure_restored(backup_id), BackupState.READY),
                ):
                    told = (backup.backup_id, backup.backup_state, backup.hsm_type)
                    if told != (backup_id, state, f"hsm{number}.medium"):
                        mixed.append(f"thread {number} was told {told}")
                    checked[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        theirs.close()
    if mixed or not all(checked):
        raise SystemExit("\n".join(mixed) or "a thread checked nothing")
    print(f"{sum(checked):,} answers in {seconds:g} s by {THREADS} threads, none mixed")


if __name__ == "__main__":
    main()
