import sys

from botocore.config import Config

from cloudhsm_restore import RestoreClient

workers = int(sys.argv[1])
with RestoreClient(config=Config(max_pool_connections=workers)) as client:
    pending = [backup.backup_id for backup in client.describe_backups(states=["PENDING_DELETION"])]
    print(sum(result.ok for result in client.restore_backups(pending, max_workers=workers)))
