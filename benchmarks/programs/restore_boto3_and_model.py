import boto3
from pydantic import BaseModel


class Empty(BaseModel):
    pass


print(boto3.client("cloudhsmv2").restore_backup(BackupId="backup-a2b3c4d5e6f")["Backup"]["BackupState"])
