"""A Sphinx extension: pages and docstrings use known words, and the project's word for each thing.

Each word has to be in the dictionary, which spells as in the US, or in ``spelling_wordlist.txt``. The words
of the glossary's left column are those of ``tests/test_style.py``, which checks the code.
"""

import re
import sys
from pathlib import Path
from typing import Final

from docutils import nodes
from markdown_it import MarkdownIt
from spellchecker import SpellChecker
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.append(str(Path(__file__).parent.parent))
from tests.test_style import other_words

NOT_PROSE: Final = (
    nodes.literal,
    nodes.literal_block,
    nodes.raw,
    nodes.comment,
    addnodes.desc_signature,
    addnodes.toctree,
    addnodes.pending_xref,
)
WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
TECHNICAL: Final = re.compile(r"\S*(?:[/@_=]|\w\.\w|\w[A-Z]|\d)\S*")  # a path, an address, aName, v1

warn = logging.getLogger(__name__).warning


def misspelled(prose: str, known: SpellChecker) -> set[str]:
    """Return the words of a text that are not known."""
    prose = TECHNICAL.sub(" ", prose.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    words = {word.removesuffix("'s") for word in WORD.findall(prose)}
    return {word for word in words if len(word) > 1 and known.unknown([word])}


def is_prose(text: nodes.Text) -> bool:
    """Return whether a text is read as language, and is not code or a name."""
    parent = text.parent
    while parent is not None:
        if isinstance(parent, NOT_PROSE):
            return False
        parent = parent.parent
    return True


def check(prose: str, location: object, app: Sphinx) -> None:
    """Warn of each unknown word and of each phrase that the glossary replaces. With -W, the build fails."""
    for word in sorted(misspelled(prose, app.spelling)):
        warn("%r is in neither the dictionary nor docs/spelling_wordlist.txt", word, location=location)
    for _, phrase, instead in other_words(" ".join(prose.split())):
        warn("instead of %r, the glossary has: %s", phrase, instead, location=location)


def check_page(app: Sphinx, doctree: nodes.document, _: str) -> None:
    """Check the texts of a page, which has the docstrings in it."""
    for text in doctree.findall(nodes.Text):
        if is_prose(text):
            check(text.astext(), text.parent, app)


def check_others(app: Sphinx) -> None:
    """Check the files that are not pages of this documentation."""
    for name in app.config.spelling_others:
        for block in MarkdownIt().enable("table").parse((Path(app.srcdir) / name).read_text("utf-8")):
            for token in block.children or []:
                if token.type == "text":
                    check(token.content, f"{name}:{block.map[0] + 1 if block.map else 0}", app)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.spelling = SpellChecker()
    words = (Path(app.srcdir) / "spelling_wordlist.txt").read_text("utf-8").split()
    app.spelling.word_frequency.load_words(words)
    app.add_config_value("spelling_others", [], "env")
    app.connect("builder-inited", check_others)
    app.connect("doctree-resolved", check_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
