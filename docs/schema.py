"""Makes the published JSON schema of `Backup`: ``python docs/schema.py docs/backup.schema.json``."""

import json
import sys
from pathlib import Path

from cloudhsm_restore import Backup


def schema() -> str:
    """The schema of what ``Backup.model_dump_json(by_alias=True)`` writes, as AWS names the fields."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Backup.model_json_schema(
        mode="serialization"
    )
    return json.dumps(content, indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema(), encoding="utf-8")
