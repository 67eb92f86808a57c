from cloudhsm_restore import RestoreClient

print(RestoreClient().restore_backup("backup-a2b3c4d5e6f").backup_state)
