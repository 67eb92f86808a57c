"""What type checkers say of an application (`tests/typing`) that has the wheel; part of `make types`.

Usage: python -m tests.check_types with-stubs|without-stubs ENVIRONMENT

mypy, pyright, pyrefly and ty, all strict, have to find exactly the lines that are marked:

    code  # error: what is wrong                            all of them find it
    code  # error: what is wrong [not by ty: the reason]    all but ty find it
    code  # error: what is wrong [not by mypy without stubs: the reason]
    code  # error by pyright: the reason                    nobody else does, and nothing is wrong

"Without stubs" means that boto3-stubs is not there; then what uses boto3 itself is
checked as somebody without them would: mypy ignores that boto3 is untyped, pyright is not strict about it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

APPLICATION: Final = Path(__file__).parent / "typing"
TOOLS: Final = Path(sys.executable).parent

SETTINGS: Final = {
    "mypy.ini": "[mypy]\nstrict = True\n",
    "pyrightconfig.json": '{{"typeCheckingMode": "standard", "strict": {strict}}}',
    "pyrefly.toml": 'preset = "strict"\n',
    "ty.toml": '[rules]\nall = "error"\n',
}
MYPY_WITHOUT_STUBS: Final = "[mypy-boto3.*,botocore.*]\nignore_missing_imports = True\n"

Line = tuple[str, int]
Found = dict[Line, str]


def _mypy(said: str) -> Iterator[tuple[str, int, str]]:
    for each in map(json.loads, said.splitlines()):
        if each["severity"] == "error":
            yield each["file"], each["line"], each["message"]


def _pyright(said: str) -> Iterator[tuple[str, int, str]]:
    for each in json.loads(said)["generalDiagnostics"]:
        if each["severity"] in ("error", "warning"):
            yield each["file"], each["range"]["start"]["line"] + 1, each["message"]


def _pyrefly(said: str) -> Iterator[tuple[str, int, str]]:
    for each in json.loads(said)["errors"]:
        if each["severity"] == "error":
            yield each["path"], each["line"], each["description"]


def _ty(said: str) -> Iterator[tuple[str, int, str]]:
    for each in json.loads(said):
        yield each["location"]["path"], each["location"]["positions"]["begin"]["line"], each["description"]


Reader = Callable[[str], Iterator[tuple[str, int, str]]]
# Told its configuration, pyrefly looks for no other, such as this project's for what is installed below it.
CHECKERS: Final[dict[str, tuple[list[str], Reader]]] = {
    "mypy": (["--python-executable", "{python}", "--output", "json"], _mypy),
    "pyright": (["--pythonpath", "{python}", "--outputjson"], _pyright),
    "pyrefly": (
        [
            *("check", "--config", "pyrefly.toml", "--output-format", "json"),
            *("--python-interpreter-path", "{python}"),
        ],
        _pyrefly,
    ),
    "ty": (["check", "--python", "{environment}", "--output-format", "gitlab"], _ty),
}


def found_by(checker: str, environment: Path, folder: Path, files: list[str]) -> Found:
    """The lines on which a checker finds something, and what it says of them."""
    arguments, read = CHECKERS[checker]
    python = environment / "bin" / "python"
    # Found first in PATH, a virtual environment is not followed through its links to the system's Python.
    path = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [
            TOOLS / checker,
            *(each.format(python=python, environment=environment) for each in arguments),
            *files,
        ],
        cwd=folder,
        env=os.environ | path,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in (0, 1):
        raise SystemExit(f"{checker} failed:\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
    found: Found = {}
    for file, line, message in read(run.stdout):
        found[Path(file).name, line] = message.partition("\n")[0]
    return found


MARK: Final = re.compile(r"# error(?: by (?P<only>\w+))?: ")
EXCEPTION: Final = re.compile(r"\[not by (?P<who>\w+)(?P<where> without stubs| with stubs)?: [^\]]+\]")


def marked(checker: str, stubs: str, folder: Path, files: list[str]) -> set[Line]:
    """The lines on which the checker has to find something."""
    lines: set[Line] = set()
    for file in files:
        for number, text in enumerate((folder / file).read_text(encoding="utf-8").splitlines(), 1):
            mark = MARK.search(text)
            if mark is None or mark["only"] not in (None, checker):
                continue
            excepted = {
                each["who"] for each in EXCEPTION.finditer(text) if each["where"] in (None, f" {stubs} stubs")
            }
            assert excepted <= set(CHECKERS), f"{file}:{number}: {excepted}"
            if checker not in excepted:
                lines.add((file, number))
    return lines


def main(stubs: str, environment: Path) -> int:
    """Run all checkers, say where they differ from the marks, and count that."""
    files = sorted(path.name for path in APPLICATION.glob("*.py"))
    typed = files
    if stubs == "without":  # then boto3 is untyped: nobody can be strict about it, or see mistakes with it
        files = [file for file in files if file != "wrong_with_boto3.py"]
        typed = [file for file in files if file != "with_boto3.py"]
    with TemporaryDirectory() as name:  # where nothing but the installed wheel can be imported
        folder = Path(name)
        for file in files:
            shutil.copy(APPLICATION / file, folder)
        for file, settings in SETTINGS.items():
            text = settings.format(strict=json.dumps(typed)) if file.endswith(".json") else settings
            (folder / file).write_text(text)
        if stubs == "without":
            with (folder / "mypy.ini").open("a") as ini:
                ini.write(MYPY_WITHOUT_STUBS)
        with ThreadPoolExecutor(2) as pool:
            runs = {
                each: pool.submit(found_by, each, environment.absolute(), folder, files) for each in CHECKERS
            }
        differences = 0
        for checker, run in runs.items():
            found, expected = run.result(), marked(checker, stubs, folder, files)
            assert len(expected) > 50, "the marks are not where they were"
            for file, line in sorted(expected - set(found)):
                print(f"tests/typing/{file}:{line}: {checker} finds no error {stubs} stubs")
            for (file, line), message in sorted(found.items()):
                if (file, line) not in expected:
                    print(f"tests/typing/{file}:{line}: {checker} {stubs} stubs: {message}")
            differences += len(expected ^ set(found))
            print(f"{checker} {stubs} stubs: {len(expected & set(found))} of {len(expected)} mistakes found")
    return differences


if __name__ == "__main__":
    kinds = {"with-stubs": "with", "without-stubs": "without"}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        raise SystemExit(__doc__)
    raise SystemExit(main(kinds[sys.argv[1]], Path(sys.argv[2])) and 1)
