"""Make the picture of the demo from a real run: ``python docs/picture.py docs/demo.svg``."""

import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from cloudhsm_restore.cli._demo import run

if __name__ == "__main__":
    console = Console(file=StringIO(), record=True, width=104, force_terminal=True, highlight=False)
    run(console)
    picture = console.export_svg(title="cloudhsm-restore demo", unique_id="demo")
    Path(sys.argv[1]).write_text(picture, encoding="utf-8")
