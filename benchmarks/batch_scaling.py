"""Memory and time per backup of restore_backups, from 100 to 10,000 pending backups.

    python -m benchmarks.batch_scaling [rounds]

The service is in this process and the client in another, so that the memory is the client's. A time is the
median of the rounds, divided by the time per backup of the smallest batch.
"""

import statistics
import subprocess
import sys
from pathlib import Path

from cloudhsm_restore.testing import LocalCloudHsm


def measure(number: int) -> tuple[float, float]:
    """Return the growth of the process in MiB, and the seconds per backup."""
    with LocalCloudHsm() as service:
        for _ in range(number):
            service.add_backup(backup_state="PENDING_DELETION")
        done = subprocess.run(
            [sys.executable, "-m", "tests.restore_all"],
            env=service.environ,
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
    *results, end = done.stdout.splitlines()
    if len(results) != number or not all(line.endswith(" restored") for line in results):
        raise SystemExit("not all were restored")
    _, mib, _, seconds, _ = end.split()
    return float(mib), float(seconds) / number


def main() -> None:
    """Print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| backups | memory grows by | time per backup, relative |")
    print("| --- | --- | --- |")
    first = 0.0
    for number in (100, 1_000, 10_000):
        runs = [measure(number) for _ in range(rounds)]
        mib = max(mib for mib, _ in runs)
        seconds = statistics.median(seconds for _, seconds in runs)
        first = first or seconds
        print(f"| {number:,} | {mib:.1f} MiB | {seconds / first:.2f}x |")


if __name__ == "__main__":
    main()
