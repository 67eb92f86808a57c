"""The figures on the pages. Each block of figures is written by the run that measured it, and names the code.

A block stands between two comments::

    <!-- figures: state-space -->
    ...
    <!-- end -->

Its last line has the date, the code, and the versions. The code is named by a hash of the library's modules
without comments, docstrings, and layout. A hash of a commit would not do: the figures are committed after
their run. ``tests/test_figures.py`` fails if the code of a block is not the code of today.

    python -m tests.figures

prints the hash, and the blocks that have to be measured again.
"""

import ast
import hashlib
import io
import platform
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "cloudhsm_restore"
COMMANDS: Final = {
    "every-fault": "make fault-injection",
    "state-space": "make state-space",
    "fault-injection": "make fault-injection",
    "fuzzing": "make fuzz",
    "processes": "make soak",
    "mutants": "make mutants",
    "versions": "make versions",
    "throttling": "make throttling",
    "cost": "make bench",
    "benchmarks": "make bench",
    "instructions": "make instructions",
    "setup": "make setup-time",
}
"""The blocks, and the command that measures each of them."""

BLOCK: Final = re.compile(r"<!-- figures: ([\w-]+) -->\n(.*?)<!-- end -->\n", re.DOTALL)
"""A block on a page: its name, and its text."""


class Block(NamedTuple):
    """A block of figures on a page."""

    page: Path
    name: str
    text: str

    @property
    def code(self) -> str | None:
        """The code that it names."""
        found = re.search(r"code `([0-9a-f]{12})`", self.text)
        return found and found[1]


def code_of(sources: Iterable[str]) -> str:
    """Return the hash of Python modules, without comments, docstrings, and layout."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(_code(source).encode())
    return digest.hexdigest()[:12]


def _code(source: str) -> str:
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str())):
                for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                    lines[row - 1] = ""
            case _:
                pass
    # A comma after the last item comes and goes with the layout.
    return re.sub(r",([)\]}])", r"\1", "".join("".join(lines).split()))


def code() -> str:
    """Return the hash of the library as it is now, without its packages ``cli`` and ``testing``."""
    return code_of(path.read_text("utf-8") for path in sorted(PACKAGE.glob("*.py")))


def provenance(*more: str) -> str:
    """Return the line that says when, and with what, figures were measured."""
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"code `{code()}`",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("boto3", "pydantic")),
        *more,
    ]
    return f"Measured: {', '.join(parts)}."


def pages() -> list[Path]:
    """Return all pages that can have figures."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    return sorted(page for page in found if "_build" not in page.parts)


def blocks() -> Iterator[Block]:
    """Yield all blocks of all pages."""
    for page in pages():
        for name, text in BLOCK.findall(page.read_text("utf-8")):
            yield Block(page, name, text)


def write(name: str, lines: Iterable[str], *more: str) -> None:
    """Write figures into each block with this name, with a line about their provenance.

    Args:
        name: the name of the block.
        lines: Markdown, usually a table.
        more: what else the figures depend on, such as the seed or the machine.

    Raises:
        LookupError: no page has the block.
    """
    text = "\n".join([*lines, "", provenance(*more)]) + "\n"
    pages = {block.page for block in blocks() if block.name == name}
    if not pages:
        raise LookupError(f"no page has a block of figures named {name}")
    for page in pages:
        start = f"<!-- figures: {name} -->\n"
        before, _, rest = page.read_text("utf-8").partition(start)
        _, end, after = rest.partition("<!-- end -->\n")
        page.write_text(f"{before}{start}{text}{end}{after}", encoding="utf-8")


def main() -> int:
    """Print the hash of the code, and the blocks of other code; return 1 if there are any."""
    print(f"code {code()}")
    others = [block for block in blocks() if block.code != code()]
    for block in others:
        page = block.page.relative_to(ROOT)
        print(f"{page}: {block.name} is of code {block.code}; run: {COMMANDS[block.name]}")
    return bool(others)


if __name__ == "__main__":
    sys.exit(main())
