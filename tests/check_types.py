"""Runs type checkers on an application (`tests/typing`) that has the wheel; part of `make types`.

Usage: python -m tests.check_types with-stubs|without-stubs|types-boto3 ENVIRONMENT

mypy, pyright, pyrefly, and ty, all strict, have to report exactly the marked lines:

    code  # error: the mistake                            all of them report it
    code  # error: the mistake [not by ty: the reason]    all except ty report it
    code  # error: the mistake [not by mypy without stubs: the reason]
    code  # error by pyright: the reason                  only pyright reports it, and the code is valid

"Without stubs" means that boto3-stubs is not installed. Then code that uses boto3 itself is checked with the
settings that users without the stubs need: mypy ignores that boto3 is untyped, and pyright is not strict.
"types-boto3" is the other name of the stubs; the types in it are others.
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


def _mypy(output: str) -> Iterator[tuple[str, int, str]]:
    for found in map(json.loads, output.splitlines()):
        if found["severity"] == "error":
            yield found["file"], found["line"], found["message"]


def _pyright(output: str) -> Iterator[tuple[str, int, str]]:
    for found in json.loads(output)["generalDiagnostics"]:
        if found["severity"] in ("error", "warning"):
            yield found["file"], found["range"]["start"]["line"] + 1, found["message"]


def _pyrefly(output: str) -> Iterator[tuple[str, int, str]]:
    for found in json.loads(output)["errors"]:
        if found["severity"] == "error":
            yield found["path"], found["line"], found["description"]


def _ty(output: str) -> Iterator[tuple[str, int, str]]:
    for found in json.loads(output):
        yield found["location"]["path"], found["location"]["positions"]["begin"]["line"], found["description"]


Reader = Callable[[str], Iterator[tuple[str, int, str]]]
# Without --config, pyrefly would find the configuration of this project for the packages below it.
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


def errors_of(checker: str, environment: Path, folder: Path, files: list[str]) -> Found:
    """Run a checker, and return the lines with an error and their messages."""
    arguments, read = CHECKERS[checker]
    python = environment / "bin" / "python"
    # First in PATH, because checkers follow the links of another Python to the system's.
    path = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [
            TOOLS / checker,
            *(argument.format(python=python, environment=environment) for argument in arguments),
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
    """Return the lines on which a checker has to report an error."""
    lines: set[Line] = set()
    for file in files:
        for number, text in enumerate((folder / file).read_text(encoding="utf-8").splitlines(), 1):
            mark = MARK.search(text)
            if mark is None or mark["only"] not in (None, checker):
                continue
            excepted = {
                found["who"]
                for found in EXCEPTION.finditer(text)
                if found["where"] in (None, f" {stubs} stubs")
            }
            assert excepted <= set(CHECKERS), f"{file}:{number}: {excepted}"
            if checker not in excepted:
                lines.add((file, number))
    return lines


def main(stubs: str, environment: Path) -> int:
    """Run all checkers, print the differences from the marks, and return their number."""
    application = APPLICATION / "types_boto3" if stubs == "types-boto3" else APPLICATION
    least = 4 if stubs == "types-boto3" else 51
    files = sorted(path.name for path in application.glob("*.py"))
    typed = files
    if stubs == "without":  # boto3 is untyped then, so mistakes with it have no errors.
        files = [file for file in files if file != "wrong_with_boto3.py"]
        typed = [file for file in files if file != "with_boto3.py"]
    with TemporaryDirectory() as name:  # Only the installed wheel can be imported from here.
        folder = Path(name)
        for file in files:
            shutil.copy(application / file, folder)
        for file, settings in SETTINGS.items():
            text = settings.format(strict=json.dumps(typed)) if file.endswith(".json") else settings
            (folder / file).write_text(text)
        if stubs == "without":
            with (folder / "mypy.ini").open("a") as ini:
                ini.write(MYPY_WITHOUT_STUBS)
        with ThreadPoolExecutor(2) as pool:
            runs = {
                checker: pool.submit(errors_of, checker, environment.absolute(), folder, files)
                for checker in CHECKERS
            }
        differences = 0
        for checker, run in runs.items():
            found, expected = run.result(), marked(checker, stubs, folder, files)
            assert len(expected) >= least, "the marks were not found"
            for file, line in sorted(expected - set(found)):
                print(f"tests/typing/{file}:{line}: {checker} reports no error ({sys.argv[1]})")
            for (file, line), message in sorted(found.items()):
                if (file, line) not in expected:
                    print(f"tests/typing/{file}:{line}: {checker} ({sys.argv[1]}): {message}")
            differences += len(expected ^ set(found))
            print(f"{checker} {sys.argv[1]}: {len(expected & set(found))} of {len(expected)} mistakes found")
    return differences


if __name__ == "__main__":
    kinds = {"with-stubs": "with", "without-stubs": "without", "types-boto3": "types-boto3"}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        raise SystemExit(__doc__)
    raise SystemExit(main(kinds[sys.argv[1]], Path(sys.argv[2])) and 1)
