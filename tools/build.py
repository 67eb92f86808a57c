"""Builds the wheel and the sdist twice, in ``dist``, and fails if the two builds differ in a byte.

The second build has another folder, other file times, and another umask, time zone, and hash seed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"


def git(*arguments: str) -> str:
    """Return the output of a git command in this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def build(source: Path, into: Path, umask: int, **environment: str) -> dict[str, str]:
    """Build, and return the SHA-256 of each file."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", into],
        cwd=source,
        # Hatchling imports tools/readme.py, which must not leave a cache in the source.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
        umask=umask,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(into.iterdir())}


def main() -> None:
    """Build twice, print the hashes, and compare them."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", git("log", "-1", "--format=%ct").strip())
    shutil.rmtree(DIST, ignore_errors=True)
    first = build(ROOT, DIST, 0o022, TZ="UTC", PYTHONHASHSEED="1")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
            if name and (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, source / name)
        second = build(source, Path(folder, "dist"), 0o077, TZ="Asia/Kathmandu", PYTHONHASHSEED="2")
    for name, digest in first.items():
        print(digest, name)
    if first != second or [Path(name).suffix for name in first] != [".whl", ".gz"]:
        sys.exit(f"the builds differ: {second}")
    print("both builds are identical")


if __name__ == "__main__":
    main()
