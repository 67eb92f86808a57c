"""The blocks of README.md and of the pages in docs/: their kinds, and how each kind is run.

A page is run from top to bottom, in one namespace, in an empty folder. Its environment points to a
`LocalCloudHsm` of its own, so `RestoreClient()` and `cloudhsm-restore` work as they are written. In an
invisible block, that service is called `page_service`::

    <!--- invisible-code-block: python
    page_service.inject("drop-after-work")
    --->

Nothing that a reader sees may depend on such a block. Therefore the visible Python blocks of a page are run
once more without the invisible ones. Only a block that begins with ``# In place of AWS`` is then run as well.

``python``
    is executed. Tests that it defines are called, if they take no fixtures.
``text``, right after a Python block
    is the output of that block. ``...`` stands for text that differs from run to run.
``console``
    is executed by bash. Lines that begin with ``$ `` are commands, the others their output, on both streams.
    A command that fails needs an ``echo $?``. If the first command is ``cloudhsm-restore serve``, it runs
    until the end of the page, and the line that it prints is "pasted" into the following blocks. Its port is
    any that is free, whatever the page says.
``bash``
    is executed by bash, without output: these are commands to copy.
``json``, ``yaml``, ``toml``
    is parsed.
``ini``
    is parsed, and is ``~/.aws/config`` from then on.
``text``
    anywhere else is a diagram or a message.
:::{admonition} Needs ...
    around a block says that the block needs more than a test has, such as an AWS account. The block is only
    compiled or parsed.

Any other block is an error. Output is never typed by hand: ``make docs-output`` writes it.
"""

import ast
import configparser
import contextlib
import doctest
import io
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import yaml
from sybil import Document, Region
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer

from cloudhsm_restore.testing import LocalCloudHsm

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]

# These fetch, install or test this very project: `make test` is what runs the pages, `make check` installs
# the wheel into an environment of its own, and `.ci/run` runs all of them on a clean clone.
_ELSEWHERE: Final = re.compile(
    r"(git clone|make (demo|test|check)|python3 -m venv|\. \.venv/bin/activate|(\.venv/bin/)?pip install)\b"
)

# These differ in each run. The pages show the values beside them instead.
_REQUEST_ID: Final = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_SHOWN_REQUEST_ID: Final = "7d2c1f0e-6b1a-4c0d-9d3e-2f1a0b9c8d7e"
_SHOWN_ENDPOINT: Final = "http://127.0.0.1:4566"
_ENDPOINT: Final = re.compile(r"http://127\.0\.0\.1:\d+")
_PORT: Final = re.compile(r"--port \d+")
_PATIENCE: Final = 60.0


class PageError(AssertionError):
    """A block does not work as its page says."""


@dataclass(frozen=True)
class Block:
    """A fenced block, or an invisible one."""

    language: str
    source: str
    region: Region
    line: int
    needs: str
    hidden: bool

    @property
    def kind(self) -> str:
        """How it is checked: executed, output, parsed, shown, marked, or elsewhere."""
        if self.needs:
            return "marked"
        if self.language == "console" and all(map(_ELSEWHERE.match, _commands(self.source))):
            return "elsewhere"
        kinds = dict.fromkeys(("python", "console", "bash"), "executed") | {"text": "shown"}
        return kinds.get(self.language, "parsed")

    @property
    def is_for_the_runner(self) -> bool:
        """Whether the page has to work without it, because a reader does not see it."""
        return self.hidden and not self.source.startswith("# In place of AWS")

    @property
    def is_shell(self) -> bool:
        """Whether bash runs it."""
        return self.language in ("console", "bash")


def blocks(page: Path) -> list[Block]:
    """Return all blocks of a page, in order. A block that is neither run nor marked is an error."""
    document = Document.parse(str(page), _lex)
    marked = [
        (found.start(), found.end(), found["needs"])
        for found in re.finditer(
            r"^(?P<colons>:{3,})\{admonition\} (?P<needs>Needs .+)\n(?s:.*?)^(?P=colons)$",
            document.text,
            re.MULTILINE,
        )
    ]
    found: list[Block] = []
    for example in document.examples():
        region = example.region
        hidden = "directive" in region.lexemes
        language = region.lexemes["arguments" if hidden else "language"]
        needs = next((needs for start, end, needs in marked if start < region.start < end), "")
        found.append(Block(language, region.lexemes["source"], region, example.line, needs, hidden))
    return found


def tally(page: Path) -> Counter[str]:
    """Count the visible blocks of each kind on a page."""
    found = blocks(page)
    counted: Counter[str] = Counter()
    for before, block in pairwise([None, *found]):
        if block and not block.hidden:
            counted["output" if _is_output(page.read_text("utf-8"), before, block) else block.kind] += 1
    return counted


@dataclass
class Run:
    """One run of one page."""

    page: Path
    service: LocalCloudHsm
    environ: dict[str, str]
    """For commands; Python blocks see the process's own environment."""
    update: bool = False
    """Whether to write the output into the page, instead of comparing it."""
    alone: bool = False
    """Whether to run only the visible Python blocks."""

    def __post_init__(self) -> None:
        """Nothing has been run yet."""
        self.text = self.page.read_text("utf-8")
        self.executed: Counter[str] = Counter()
        self.module = ModuleType("page_" + re.sub(r"\W", "_", self.page.stem))
        if not self.alone:
            self.module.__dict__["page_service"] = self.service
        self._edits: list[tuple[int, int, str]] = []
        self._background = contextlib.ExitStack()

    def all(self) -> None:
        """Run every block, and write the page if ``update`` is set."""
        found = blocks(self.page)
        if self.alone:
            found = [block for block in found if not block.is_for_the_runner and not block.is_shell]
        sys.modules[self.module.__name__] = self.module  # where dataclasses and pydantic look names up
        with self._background:
            self._background.enter_context(patch.dict(os.environ))
            self._background.callback(self._tidy, logging.getLogger("cloudhsm_restore").handlers[:])
            for number, block in enumerate(found):
                try:
                    self._one(block, found[number + 1] if block is not found[-1] else None)
                except Exception as error:
                    raise PageError(f"{self.page.name}, line {block.line}: {error}") from error
        del sys.modules[self.module.__name__]
        if self._edits:
            for start, end, new in reversed(self._edits):
                self.text = self.text[:start] + new + self.text[end:]
            self.page.write_text(self.text, "utf-8")

    def _tidy(self, handlers: list[logging.Handler]) -> None:
        logger = logging.getLogger("cloudhsm_restore")
        logger.handlers[:] = handlers
        logger.setLevel(logging.NOTSET)
        tracing = sys.modules.get("opentelemetry.instrumentation.botocore")
        if tracing and tracing.BotocoreInstrumentor().is_instrumented_by_opentelemetry:
            tracing.BotocoreInstrumentor().uninstrument()
        for value in self.module.__dict__.values():
            if isinstance(value, LocalCloudHsm) and value is not self.service:
                value.close()

    def _one(self, block: Block, after: Block | None) -> None:
        if block.kind in ("marked", "parsed", "shown"):
            check(block)
            if block.language == "ini" and not block.needs:
                self._configure(block.source)
        elif block.kind == "executed":
            if block.language == "console":
                self._console(block)
            elif block.language == "bash":
                self._bash(block.source)
            else:
                printed = self._python(block)
                if after and _is_output(self.text, block, after):
                    self._compare(after, after.source, printed)
            self.executed[block.language] += not block.hidden

    def _configure(self, config: str) -> None:
        folder = Path(self.environ["HOME"], ".aws")
        folder.mkdir(exist_ok=True)
        keys = "".join(f"{name.lower()} = {value}\n" for name, value in self.environ.items() if "KEY" in name)
        (folder / "config").write_text(config, "utf-8")
        (folder / "credentials").write_text(f"[default]\n{keys}", "utf-8")

    def _python(self, block: Block) -> str:
        tree = ast.parse(block.source)
        ast.increment_lineno(tree, block.line)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, str(self.page), "exec"), self.module.__dict__)
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not node.args.args:
                    self.module.__dict__[node.name]()
        return printed.getvalue()

    def _console(self, block: Block) -> None:
        commands = _commands(block.source)
        if re.match(r"cloudhsm-restore serve(?!.* --help)", commands[0]):
            printed = self._serve(commands[0])
            commands = commands[1:]
            if commands:
                raise PageError("a command that keeps running has a block of its own")
            self._compare(block, block.source, f"$ {_commands(block.source)[0]}\n{printed}")
            return
        end = "---- the command has ended with"
        script = "".join(f'{each}\n_s=$?; echo "{end} $_s"; (exit $_s)\n' for each in commands)
        ran = self._shell(script)
        outputs = re.split(rf"^{end} (\d+)\n", ran.stdout, flags=re.MULTILINE)
        transcript = ""
        for number, command in enumerate(commands):
            output, status = outputs[2 * number : 2 * number + 2]
            is_asked = "$?" in "".join(commands[number : number + 2])
            if status != "0" and not is_asked:
                raise PageError(f"{command} ends with status {status}: {output}")
            transcript += f"$ {command}\n{output}"
        self._compare(block, block.source, transcript)

    def _bash(self, source: str) -> None:
        ran = self._shell(f"set -e\n{source}")
        if ran.returncode:
            raise PageError(f"a command ends with status {ran.returncode}: {ran.stdout}")

    def _shell(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )

    def _serve(self, command: str) -> str:
        program = subprocess.Popen(
            shlex.split(_PORT.sub("--port 0", command)),
            env={name: value for name, value in self.environ.items() if name not in self.service.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def end() -> None:
            program.send_signal(signal.SIGINT)
            program.communicate(timeout=_PATIENCE)

        self._background.callback(end)
        assert program.stdout is not None
        pasted, said = program.stdout.readline(), program.stdout.readline()
        variables = dict(word.split("=", 1) for word in shlex.split(pasted.removeprefix("export ")))
        self.environ |= variables
        self._background.enter_context(patch.dict(os.environ, variables))
        return pasted + said

    def _compare(self, block: Block, expected: str, printed: str) -> None:
        printed = _ENDPOINT.sub(_SHOWN_ENDPOINT, _REQUEST_ID.sub(_SHOWN_REQUEST_ID, printed))
        printed = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        if doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS):
            return
        if not self.update:
            raise PageError(f"the page shows\n{expected}\nand the block prints\n{printed}")
        start = self.text.index("\n", block.region.start) + 1
        end = self.text.rindex("\n", start - 1, block.region.end) + 1
        self._edits.append((start, end, printed))


def check(block: Block) -> None:
    """Compile or parse a block that is not run."""
    _CHECKS[block.language](block.source)


def environment(service: LocalCloudHsm, folder: Path) -> dict[str, str]:
    """Return the environment of a page's commands: the local service, and nothing else of AWS."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    plain = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "TERM": "dumb",
        "COLUMNS": "96",
        "LANG": "C.UTF-8",
        "PATH": path,
    }
    return {**kept, **plain, "AWS_EC2_METADATA_DISABLED": "true", **service.environ}


def fill(service: LocalCloudHsm) -> None:
    """Add the backups that every page expects: three that are pending deletion, one that is READY."""
    service.add_backup(
        backup_id="backup-a2b3c4d5e6f",
        backup_state="PENDING_DELETION",
        tag_list=[{"Key": "Env", "Value": "prod"}],
    )
    service.add_backup(backup_id="backup-b3c4d5e6f7a")
    service.add_backup(backup_id="backup-c4d5e6f7a2b", backup_state="PENDING_DELETION")
    service.add_backup(backup_id="backup-d5e6f7a2b3c", backup_state="PENDING_DELETION")


def _lex(document: Document) -> Iterator[Region]:
    yield from FencedCodeBlockLexer(r"[^{\n]*")(document)
    yield from DirectiveInHTMLCommentLexer("invisible-code-block")(document)


def _is_output(text: str, before: Block | None, block: Block) -> bool:
    return (
        block.language == "text"
        and before is not None
        and before.language == "python"
        and not before.needs
        and not text[before.region.end : block.region.start].strip()
    )


def _commands(source: str) -> list[str]:
    """Return the commands of a console block, each with the lines that continue it."""
    commands: list[str] = []
    for line in source.splitlines():
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
        elif commands and commands[-1].endswith("\\"):
            commands[-1] += f"\n{line}"
        elif not commands:
            raise PageError(f"{line!r} is neither a command nor its output")
    if not commands:
        raise PageError("a console block without a command")
    return commands


def _compile(source: str) -> None:
    compile(source, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _bash(source: str) -> None:
    script = "\n".join(_commands(source)) if source.startswith("$ ") else source
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True)


class _CloudFormation(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, such as ``!GetAtt``."""


def _anything(_: yaml.SafeLoader, tag: str, node: yaml.Node) -> object:
    return tag, node


yaml.add_multi_constructor("!", _anything, _CloudFormation)


def _yaml(source: str) -> None:
    yaml.load(source, _CloudFormation)


def _ini(source: str) -> None:
    configparser.ConfigParser(interpolation=None).read_string(source)


_CHECKS: Final[Mapping[str, Callable[[str], Any]]] = {
    "python": _compile,
    "console": _bash,
    "bash": _bash,
    "json": json.loads,
    "yaml": _yaml,
    "toml": tomllib.loads,
    "ini": _ini,
    "text": str,
}

LANGUAGES: Final = frozenset(_CHECKS)


def main() -> None:
    """Print how many blocks each page has, by their kind."""
    total: Counter[str] = Counter()
    for page in PAGES:
        counted = tally(page)
        total += counted
        print(f"{page.relative_to(ROOT)!s:45}", *(f"{kind} {number}" for kind, number in counted.items()))
    print(f"{'all':45}", *(f"{kind} {number}" for kind, number in total.items()))


if __name__ == "__main__":
    main()
