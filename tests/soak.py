"""64 threads on one client: each gets the responses to its own requests.

Each thread deletes, describes, and restores one backup in a loop, and checks that each result is that backup
in the expected state.
"""

import threading
import time

from botocore.config import Config

from cloudhsm_restore import BackupState
from cloudhsm_restore.testing import LocalCloudHsm

THREADS = 64


def soak(seconds: float) -> tuple[int, list[str]]:
    """Run the threads, and return the number of responses that were checked, and those that were wrong."""
    checked = [0] * THREADS
    mixed: list[str] = []
    with LocalCloudHsm() as service:
        boto3_client = service.boto3_client(Config(max_pool_connections=THREADS, read_timeout=30))
        client = service.client(Config(max_pool_connections=THREADS, read_timeout=30))
        until = time.monotonic() + seconds

        def work(number: int) -> None:
            backup_id = service.add_backup(hsm_type=f"hsm{number}.medium").backup_id
            while time.monotonic() < until and not mixed:
                boto3_client.delete_backup(BackupId=backup_id)
                for backup, state in (
                    (client.get_backup(backup_id), BackupState.PENDING_DELETION),
                    (client.restore_backup(backup_id), BackupState.READY),
                    (client.ensure_restored(backup_id), BackupState.READY),
                ):
                    result = (backup.backup_id, backup.backup_state, backup.hsm_type)
                    if result != (backup_id, state, f"hsm{number}.medium"):
                        mixed.append(f"thread {number} got {result}")
                    checked[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        boto3_client.close()
    if not all(checked):
        mixed.append("a thread checked nothing")
    return sum(checked), mixed
