"""The tables in the documentation that come from the code itself."""

import sys
import tomllib
from collections import Counter
from pathlib import Path

from cloudhsm_restore import ApiError, RestoreError

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))


def _link(exception: type) -> str:
    return f"{{py:class}}`~cloudhsm_restore.{exception.__name__}`"


def exceptions(of: type[RestoreError] = RestoreError, depth: int = 0) -> str:
    """The family as a nested list, with the other classes that each belongs to and what it means."""
    others = [base.__name__ for base in of.__bases__ if not issubclass(base, RestoreError)]
    also = f" (also `{others[0]}`)" if others and others != ["Exception"] else ""
    summary = (of.__doc__ or "").partition("\n")[0].replace("``", "`")
    line = f"{'  ' * depth}- {_link(of)}{also}: {summary}\n"
    return line + "".join(exceptions(each, depth + 1) for each in of.__subclasses__())


def codes() -> str:
    """Every AWS error code and its class."""
    rows = [
        f"| {_link(each)} | {', '.join(f'`{code}`' for code in each.codes)} |"
        for each in ApiError.__subclasses__()
    ]
    return "\n".join(["| class | codes |", "| --- | --- |", *rows])


def requirements() -> str:
    """What pyproject.toml says of Python and of the libraries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    rows = [
        ("Python", [project["requires-python"]]),
        ("the package", project["dependencies"]),
        ("extra `cli`", extras["cli"]),
        ("extra `async`", extras["async"]),
    ]
    return "\n".join(
        ["| for | needs |", "| --- | --- |"]
        + [f"| {what} | {', '.join(f'`{each}`' for each in needs)} |" for what, needs in rows]
    )


def blocks() -> str:
    """What is done with the blocks of each page."""
    from tests.pages import PAGES, tally

    kinds = ("executed", "output", "parsed", "shown", "marked", "elsewhere")
    rows, total = [], Counter[str]()
    for page in PAGES:
        counted = tally(page)
        if counted:
            total += counted
            name = str(page.relative_to(ROOT))
            link = f"[{name[5:-3]}](/{name[5:]})" if name.startswith("docs/") else name
            rows.append(_row(link, kinds, counted))
    heads = f"| page | {' | '.join(kinds)} | all |\n| --- |{' ---: |' * (len(kinds) + 1)}"
    return "\n".join([heads, *rows, _row("**all pages**", kinds, total)])


def _row(what: str, kinds: tuple[str, ...], counted: Counter[str]) -> str:
    return f"| {what} | {' | '.join(str(counted[kind] or '') for kind in kinds)} | {counted.total()} |"
