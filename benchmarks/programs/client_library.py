from cloudhsm_restore import RestoreClient

RestoreClient()
