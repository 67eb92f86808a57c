import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

workers = int(sys.argv[1])
client = boto3.client("cloudhsmv2", config=Config(max_pool_connections=workers))
pages = client.get_paginator("describe_backups").paginate(Filters={"states": ["PENDING_DELETION"]})
pending = [backup["BackupId"] for page in pages for backup in page["Backups"]]
with ThreadPoolExecutor(workers) as pool:
    responses = pool.map(lambda backup_id: client.restore_backup(BackupId=backup_id), pending)
    print(sum(response["Backup"]["BackupState"] == "READY" for response in responses))
