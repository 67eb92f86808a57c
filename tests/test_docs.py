"""The README and the pages in docs/: every block works as its page says."""

import asyncio
import contextlib
import inspect
import os
import re
import runpy
import textwrap
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import pytest
from markdown_it import MarkdownIt

import cloudhsm_restore.testing
from cloudhsm_restore import AsyncRestoreClient, RestoreClient
from cloudhsm_restore.testing import LocalCloudHsm, RestoreStubber

from . import figures
from .fault_injection import single_faults, table
from .pages import LANGUAGES, PAGES, ROOT, PageError, Run, blocks, environment, fill, tally


class MakeRun(Protocol):
    """Prepares the run of a page."""

    def __call__(self, page: Path, *, alone: bool = False) -> Run: ...


def name(page: Path) -> str:
    """Return the ID of a page's test."""
    return str(page.relative_to(ROOT))


@pytest.fixture
def run(
    service: LocalCloudHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MakeRun:
    """Prepares the run of a page."""
    fill(service)
    for variable, value in service.environ.items():
        monkeypatch.setenv(variable, value)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    update = bool(request.config.getoption("--update-docs"))

    def make(page: Path, *, alone: bool = False) -> Run:
        return Run(page, service, environment(service, tmp_path), update and not alone, alone)

    return make


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_the_page_works(page: Path, run: MakeRun) -> None:
    """Each Python block and each command runs on the local service, and prints the output on the page."""
    running = run(page)
    running.all()
    assert sum(running.executed.values()) == tally(page)["executed"]


WITH_HIDDEN_BLOCKS = [page for page in PAGES if "page_service" in page.read_text("utf-8")]


@pytest.mark.parametrize("page", WITH_HIDDEN_BLOCKS, ids=name)
def test_the_visible_blocks_are_enough(page: Path, run: MakeRun) -> None:
    """The visible Python blocks of a page work, in order, without the invisible ones."""
    run(page, alone=True).all()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_block_is_left_out(page: Path) -> None:
    """A CommonMark parser finds the same blocks; none is merely indented, and each has a known language."""
    tokens = list(MarkdownIt().parse(page.read_text("utf-8")))
    assert [token.map for token in tokens if token.type == "code_block"] == []
    fences = [token.info.strip() for token in tokens if token.type == "fence"]
    assert [each for each in fences if each.startswith(("{code", "{sourcecode", "{doctest"))] == []
    languages = [block.language for block in blocks(page) if not block.hidden]
    assert languages == [each for each in fences if not each.startswith("{")]
    assert set(languages) <= LANGUAGES


def test_most_blocks_are_executed() -> None:
    """Blocks that need an account are the exception."""
    counted = Counter[str]()
    for page in PAGES:
        counted += tally(page)
    assert counted["executed"] > 3 * counted["marked"]
    assert counted["executed"] >= 10


def test_every_public_name_is_in_the_reference() -> None:
    """The pages of the reference have an entry for each name that the package exports."""
    reference = "".join(page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    entries = set(re.findall(r"auto(?:class|exception|function):: (?:[\w.]+\.)?(\w+)", reference))
    public = {*cloudhsm_restore.__all__, *cloudhsm_restore.testing.__all__, "AsyncRestoreClient"}
    assert entries == public - {"__version__"}


def documented_outcomes() -> dict[str, str]:
    """Return the column "Outcome known?" of the table of exceptions."""
    names = runpy.run_path(str(ROOT / "docs/tables.py"))
    rows = [line.split(" | ") for line in names["exceptions"]().splitlines()[2:]]
    return {re.sub(r".*\.(\w+)`", r"\1", row[0]): row[3].rstrip(" |") for row in rows}


OUTCOMES = documented_outcomes()
NOT_STUBBED = ("RestoreError", "ParameterError", "NotRestorableError", "WaitTimeoutError")
STUBBED = [getattr(cloudhsm_restore, name) for name in OUTCOMES if name not in NOT_STUBBED]


@pytest.mark.parametrize("error", STUBBED, ids=lambda error: error.__name__)
def test_the_table_of_exceptions_says_whether_the_outcome_is_known(
    error: type[cloudhsm_restore.RestoreError],
) -> None:
    """A call whose only attempt ends like this has the ``outcome_unknown`` of the table."""
    with RestoreStubber() as stub:
        stub.add_error(error)
        with pytest.raises(error) as raised:
            stub.client.restore_backup("backup-a2b3c4d5e6f")
    known = OUTCOMES[error.__name__].startswith("yes")
    assert raised.value.outcome_unknown is not known


def test_the_table_of_faults_is_what_the_clients_do() -> None:
    """The table of `reference/verification.md` is what a run prints today with the same boto3."""
    [block] = [block for block in figures.blocks() if block.name == "every-fault"]
    assert [fault for fault in single_faults() if fault not in block.text] == []
    if f"boto3 {version('boto3')}," not in block.text:
        pytest.skip("the page is of another boto3, which may retry other faults")
    assert block.text.partition("\n\n")[0].splitlines() == table()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_between_files_lead_somewhere(name: str) -> None:
    """The files to which files outside of docs/ link exist; the build checks those inside."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)", (ROOT / name).read_text("utf-8"))
    assert [link for link in links if not (ROOT / link).is_file()] == []
    assert links or name != "README.md"


def test_the_readme_is_short() -> None:
    """The README stays a screen and a half, and sends people to the documentation."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.splitlines()) <= 110
    assert [each for each in ("make demo", "make test", "docs/start.md") if each not in readme] == []


def examples(of: type) -> Iterator[tuple[str, str]]:
    """Yield the indented blocks in the docstrings of a class and its methods, with their names."""
    for name, each in {of.__name__: of, **vars(of)}.items():
        lines = inspect.getdoc(each) if each is of or inspect.isfunction(each) else None
        for block in re.findall(r"::\n\n((?: {4}.*\n|\n)+)", f"{lines}\n"):
            yield f"{of.__name__}: {name}", textwrap.dedent(block)


CLASSES: list[type] = [RestoreClient, AsyncRestoreClient, RestoreStubber, LocalCloudHsm]
EXAMPLES = dict(found for each in CLASSES for found in examples(each))


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_in_a_docstring_async_or_not_works(example: str, service: LocalCloudHsm) -> None:
    """An example that an editor shows on hover runs as it is."""
    names: dict[str, Any] = {
        "backup_ids": [service.add_backup(backup_state="PENDING_DELETION").backup_id],
        "client": service.client(),
        "code_under_test": use_both,
        "contextlib": contextlib,
    }
    exec("from cloudhsm_restore import *\nfrom cloudhsm_restore.testing import *", names)
    if "async " not in example:
        exec(example, names)
        return
    exec(f"async def main(client):\n{textwrap.indent(example, '    ')}", names)

    async def main() -> None:
        async with cloudhsm_restore.aio.AsyncRestoreClient() as client:
            await names["main"](client)

    with patch.dict(os.environ, service.environ):
        asyncio.run(main())


def use_both(client: RestoreClient) -> None:
    """Use the two responses that the example queues."""
    assert client.restore_backup("backup-a2b3c4d5e6f").backup_state == "READY"
    with pytest.raises(cloudhsm_restore.InvalidRequestError):
        client.restore_backup("backup-a2b3c4d5e6f")


def test_there_are_examples_in_docstrings() -> None:
    """The test above finds the examples."""
    assert len(EXAMPLES) == 4


WRONG = {
    "an error": "```python\n1 / 0\n```",
    "a test that fails": "```python\ndef test_it() -> None:\n    assert False\n```",
    "other output": "```python\nprint(1)\n```\n\n```text\n2\n```",
    "a command to copy that fails": "```bash\ncloudhsm-restore show backup-7777777zzzz\n```",
    "a command that fails": "```console\n$ cloudhsm-restore show backup-7777777zzzz 2> /dev/null\n```",
    "a command that prints something else": "```console\n$ echo 1\n2\n```",
    "no command": "```console\ncloudhsm-restore list\n```",
    "no JSON": "```json\n{'a': 1}\n```",
    "no YAML": "```yaml\na: [\n```",
    "an unknown language": "```cobol\nSTOP RUN.\n```",
    "no language": "```\nls\n```",
    "no Python, and marked": ":::{admonition} Needs an AWS account\n```python\na b\n```\n:::",
    "an invisible block that fails": "<!--- invisible-code-block: python\npage_service.no()\n--->",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_an_invalid_page_fails(text: str, run: MakeRun, tmp_path: Path) -> None:
    """The check of the pages fails for each kind of block."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}\n", "utf-8")
    with pytest.raises(PageError, match=r"page\.md, line [34]"):
        running = run(page)
        running.update = False
        running.all()


def test_a_page_that_needs_an_invisible_block_fails(run: MakeRun, tmp_path: Path) -> None:
    """A name from an invisible block is undefined when only the visible blocks are run."""
    page = tmp_path / "page.md"
    hidden = "<!--- invisible-code-block: python\nname = page_service.endpoint_url\n--->"
    page.write_text(f"{hidden}\n\n```python\nassert name\n```\n", "utf-8")
    run(page).all()
    with pytest.raises(PageError, match="'name' is not defined"):
        run(page, alone=True).all()


def test_output_is_written_by_a_run(run: MakeRun, tmp_path: Path) -> None:
    """``--update-docs`` writes the output into the page, and leaves matching output as it is."""
    page = tmp_path / "page.md"
    right = "```python\nprint(page_service.endpoint_url)\n```\n\n```text\nhttp://127.0.0.1:4566\n```\n\n"
    right += "```console\n$ echo 1 2\n1 ...\n$ (exit 3); echo $?\n3\n```\n"
    page.write_text(right.replace("4566", "...").replace("\n3\n", "\n"), "utf-8")
    running = run(page)
    running.update = True
    running.all()
    assert page.read_text("utf-8") == right.replace("4566", "...").replace("1 ...", "1 2")
    run(page).all()
