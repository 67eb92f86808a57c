from capo_cloudhsm_v2 import CloudHSMV2Client

with CloudHSMV2Client() as client:
    print(client.restore_backup(backup_id="backup-a2b3c4d5e6f")["backup"]["backup_state"])
