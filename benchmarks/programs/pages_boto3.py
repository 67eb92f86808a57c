import sys
from itertools import islice

import boto3

pages = boto3.client("cloudhsmv2").get_paginator("describe_backups").paginate()
backups = (backup for page in pages for backup in page["Backups"])
print(sum(backup["BackupState"] == "READY" for backup in islice(backups, int(sys.argv[1]))))
