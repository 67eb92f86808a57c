import sys
from itertools import islice

from cloudhsm_restore import RestoreClient

print(
    sum(
        backup.backup_state == "READY"
        for backup in islice(RestoreClient().describe_backups(), int(sys.argv[1]))
    )
)
