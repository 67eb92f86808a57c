"""The figures on the pages are of the code beside them."""

import re
from pathlib import Path

import pytest

from . import figures
from .figures import BLOCK, COMMANDS, blocks, code_of, pages

SOURCE = '''"""A module."""

LIMIT = 3  # A comment.


def double(number: int) -> int:
    """Return twice the number."""
    return number * 2
'''


def test_no_measured_figure_stands_outside_a_block() -> None:
    """A time in µs, a size in MiB, and "measured on" stand only in blocks, which name their code."""
    for page in pages():
        prose = BLOCK.sub("", page.read_text("utf-8"))
        found = re.search(r"\d ?µs|\d\.\d+ MiB|(?i:measured on)", prose)
        assert not found, f"{page.name}: {found}"


def test_figures_are_of_this_code() -> None:
    """Every block of figures is of the code of today. If not, `python -m tests.figures` lists them."""
    found = {block.name: block.code for block in blocks()}
    assert set(found) == set(COMMANDS)
    others = {name: COMMANDS[name] for name, code in found.items() if code != figures.code()}
    assert others == {}, "measure these again"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# A comment.", "", True),
        ("twice the number", "its double", True),
        ("(number: int)", "(\n    number: int,\n)", True),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("number * 2", "number * 3", False),
        ("number * 2", "'#'", False),
    ],
)
def test_the_hash_is_of_the_code_alone(old: str, new: str, same: bool) -> None:
    """Comments, docstrings, and layout do not change the hash, and code does."""
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert (code_of([SOURCE]) == code_of([changed])) is same


def test_a_block_is_written_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run replaces the text of its block, and nothing else on the page."""
    page = tmp_path / "docs/page.md"
    page.parent.mkdir()
    page.write_text("Before\n<!-- figures: state-space -->\nold\n<!-- end -->\nAfter\n", "utf-8")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    figures.write("state-space", ["new"], "seed 1")
    [block] = blocks()
    assert block.code == figures.code()
    assert block.text.startswith("new\n\nMeasured: ")
    assert "seed 1" in block.text
    assert page.read_text("utf-8").startswith("Before\n<!-- figures")
    assert page.read_text("utf-8").endswith("<!-- end -->\nAfter\n")


def test_a_page_without_the_block_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that no page shows are not lost silently."""
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    with pytest.raises(LookupError, match="state-space"):
        figures.write("state-space", ["new"])
