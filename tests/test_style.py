"""The core is short and explained, and package and tests use the glossary's words."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

MAX_FILE: Final = 300
"""Lines of code in a file of the core."""
MAX_CORE: Final = 1_970
"""Lines of code in the core."""
MIN_COMMENTS: Final = 6.0
"""Comments per 100 lines of code in the core."""

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "cloudhsm_restore"
NOT_CORE: Final = {"__init__.py", "__main__.py", "_version.py", "pytest_plugin.py"}
CORE: Final = sorted(path for path in PACKAGE.glob("*.py") if path.name not in NOT_CORE)

NOT_YET: Final[tuple[str, ...]] = ()
"""Files and folders that still have words of the left column."""

WORDS: Final = {
    r"answer(?:s|ed|ing)?": "response, return",
    r"tries|try again": "attempt, retry",
    r"(?:an?|any|each|every|first|second|last|next|other|another|one) try": "attempt",
    r"doubts?|doubtful": "unknown outcome, ambiguous",
    r"settles?|settled|settling": "resolve",
    r"waited out": "polled, retried with backoff",
    r"refus(?:e|es|ed|ing|als?)": "reject (a connection is refused)",
    r"(?:is|are|was|were) no (?!longer|more)\w+": "is not a",
    r"in the making": "being created",
    r"under way": "in flight",
    r"for good": "permanently",
    r"without harm|makes? up for": "idempotent",
    r"campaigns?": "fault injection",
    r"the family": "the exception hierarchy",
    r"untouched": "unchanged",
    r"tells?|told|hears?|heard|believes?|believed": "return, log, report, raise",
    r"nobody|somebody|anybody|whoever": "you, another user, unknown",
    r"ours|theirs": "the owner and the thing",
    r"all the same": "anyway, still",
    r"for one(?=[,.;])": "for example",
    r"may not": "cannot, is not allowed to",
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:behavi|col|fav|hon|neighb)our\w*|licences?|(?:labell|modell)(?:ed|ing)|misspelt": "US spelling",
    r"(?:author|initial|normal|organ|recogn|serial|summar)is(?:e[sd]?|ing|ations?)": "US spelling",
}
"""The left column of the glossary, and the words to use instead."""

ALLOWED: Final = (
    # TCP's word, and the names of errors and faults.
    r"connection[_ -]?(?:is |was |were )?refused|refused[_ ]connections?|refuses? (?:a |the )?connections?",
    r"connection was established: refused",
    # `LocalCloudHsm.refuse` makes the service refuse TCP connections.
    r"\brefuse\(|`refuse`",
    # `there is no such file`: a subject follows, so it is not a negated noun.
    r"there (?:is|are|was|were) no \w+",
)
"""Uses that are right."""

IGNORED_TOKENS: Final = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(source: str) -> int:
    """Count the lines that are not blank and not part of a docstring or comment."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in IGNORED_TOKENS:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str())):
                lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case _:
                pass
    text = source.splitlines()
    return sum(bool(text[number - 1].strip()) for number in lines)


def comments(source: str) -> int:
    """Count the comments, without the directives of tools."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    directive = re.compile(r"#\s*(?:noqa|type:|pyright:|fmt:|pragma:)")
    return sum(token.type == tokenize.COMMENT and not directive.match(token.string) for token in tokens)


def other_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the word, and the words to use instead, for each word of the left column."""
    # In a name, an underscore separates words. So letters end a word here, and not `\b`.
    pattern = "|".join(rf"({word})" for word in WORDS)
    allowed = [found.span() for use in ALLOWED for found in re.finditer(use, text, re.IGNORECASE)]
    for found in re.finditer(rf"(?i)(?<![a-z])(?:{pattern})(?![a-z])", text):
        if not any(start <= found.start() and found.end() <= end for start, end in allowed):
            instead = list(WORDS.values())[(found.lastindex or 1) - 1]
            yield text.count("\n", 0, found.start()) + 1, found[0], instead


def checked_files() -> Iterator[Path]:
    """Yield the Python files of package and tests that have to use the right column."""
    for path in sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        if path != Path(__file__) and not path.relative_to(ROOT).as_posix().startswith(NOT_YET):
            yield path


def test_a_file_of_the_core_is_short() -> None:
    """No file of the core has more than MAX_FILE lines of code."""
    for path in CORE:
        number = lines_of_code(path.read_text("utf-8"))
        assert number <= MAX_FILE, f"{path.relative_to(ROOT)}: {number} lines of code, at most {MAX_FILE}"


def test_the_core_is_short() -> None:
    """The core has at most MAX_CORE lines of code."""
    number = sum(lines_of_code(path.read_text("utf-8")) for path in CORE)
    assert number <= MAX_CORE, f"the core: {number} lines of code, at most {MAX_CORE}"


def test_the_core_is_explained() -> None:
    """The core has at least MIN_COMMENTS comments per 100 lines of code."""
    sources = [path.read_text("utf-8") for path in CORE]
    number = 100 * sum(map(comments, sources)) / sum(map(lines_of_code, sources))
    assert number >= MIN_COMMENTS, f"the core: {number:.1f} comments per 100 lines, at least {MIN_COMMENTS}"


def test_package_and_tests_use_the_words_of_the_glossary() -> None:
    """No name, comment, docstring, or message has a word of the glossary's left column."""
    for path in checked_files():
        name = path.relative_to(ROOT).as_posix()
        for _, word, instead in other_words(name):
            pytest.fail(f"{name}: instead of {word!r}, the glossary has: {instead}")
        for line, word, instead in other_words(path.read_text("utf-8")):
            pytest.fail(f"{name}:{line}: instead of {word!r}, the glossary has: {instead}")


SAMPLE: Final = '''"""A docstring.

With two lines."""

# A comment.
import os  # noqa: F401

LIMIT = 3
"""The docstring of an attribute."""


def text() -> str:
    """Return a text."""
    return """one

two"""  # Another comment.
'''


def test_docstrings_comments_and_blank_lines_are_not_code() -> None:
    """The sample has five lines of code and two comments."""
    assert lines_of_code(SAMPLE) == 5
    assert comments(SAMPLE) == 2


@pytest.mark.parametrize(
    "text",
    [
        *("An answer", "raw_answer", "a second try", "try again", "in doubt", "is no such", "was refused"),
        *("all the same", "you, for one, can", "nobody", "settled", "behaviour", "a licence", "organisation"),
    ],
)
def test_words_of_the_left_column_are_found(text: str) -> None:
    """A word is found in prose and in a name."""
    assert [line for line, _, _ in other_words(f"\n{text}\n")] == [2]


@pytest.mark.parametrize(
    "text",
    [
        *("try:", "[Errno 111] Connection refused", "ConnectionRefusedError", "Fault.CONNECTION_REFUSED"),
        *("a_refused_connection", "service.refuse()", "for one backup", "hours", "organized", "recommended"),
        *("there is no backup", "is no longer READY", "country"),
    ],
)
def test_other_words_are_not_found(text: str) -> None:
    """The keyword ``try``, TCP's words, and words that contain another are not found."""
    assert list(other_words(text)) == []
