import boto3

print(boto3.client("cloudhsmv2").restore_backup(BackupId="backup-a2b3c4d5e6f")["Backup"]["BackupState"])
