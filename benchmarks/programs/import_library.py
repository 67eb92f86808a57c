from cloudhsm_restore import Backup, RestoreError  # noqa: F401
