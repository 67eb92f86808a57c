"""Releases a version: ``make release VERSION=1.2.3``; ``DRY_RUN=1`` leaves out the tag and the push.

Problems are printed before anything is changed. The push comes last; its tag starts the workflow that
publishes.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def git(*arguments: str) -> str:
    """Return the output of a git command in this repository."""
    run = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.strip()


def changes(version: str) -> tuple[str, str]:
    """Return the date and the text of the version's section in CHANGELOG.md, both empty if it has none."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = re.search(
        rf"^## {re.escape(version)} \(([^)\n]*)\)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return (found[1], found[2].strip()) if found else ("", "")


def is_past(day: str) -> bool:
    """Return whether a text is a date that is not in the future."""
    try:
        return date.fromisoformat(day) <= datetime.now(UTC).date()
    except ValueError:
        return False


def urls() -> dict[str, str]:
    """Return the links of the project's page on PyPI."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return dict(settings["project"].get("urls", {}))


def problems(version: str) -> Iterator[str]:
    """Yield each reason why this version cannot be released."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        yield f"{version!r} is not a valid version"
    if git("branch", "--show-current") != "main":
        yield "the branch is not main"
    if git("status", "--porcelain"):
        yield "there are uncommitted changes"
    git("fetch", "--quiet", "origin")
    upstream = git("for-each-ref", "--format=%(objectname)", "refs/remotes/origin/main")
    if upstream and git("rev-list", f"HEAD..{upstream}"):
        yield "origin/main has commits that this branch lacks"
    if git("tag", "--list", f"v{version}"):
        yield f"the tag v{version} exists"
    if f'__version__ = "{version}"\n' != (ROOT / "cloudhsm_restore/_version.py").read_text("utf-8"):
        yield f"the version in cloudhsm_restore/_version.py is not {version}"
    day, text = changes(version)
    if not is_past(day):
        yield f"CHANGELOG.md has no section '## {version} (the date)'"
    elif not text:
        yield f"the section of {version} in CHANGELOG.md is empty"
    if missing := {"Source", "Changelog", "Issues"} - urls().keys():
        yield f"pyproject.toml has no [project.urls] for {', '.join(sorted(missing))}"


def run(*command: str) -> None:
    """Run a command, and exit if it fails."""
    print("$", *command, flush=True)
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"not released: {command[0]} ended with {code}")


def main(version: str, *, dry: bool) -> None:
    """Check, build, tag, and push."""
    if found := list(problems(version)):
        sys.exit("not released:\n" + "\n".join(f"- {problem}" for problem in found))
    run("bash", ".ci/run")
    run(sys.executable, "tools/build.py")
    if git("status", "--porcelain"):
        sys.exit("not released: the checks have changed files")
    tag = ("git", "tag", "--annotate", f"v{version}", "--cleanup=verbatim", "--message")
    push = ("git", "push", "--atomic", "origin", "main", f"v{version}")
    if dry:
        print("would run:", *tag, "... and", *push)
        return
    git(*tag[1:], f"{version}\n\n{changes(version)[1]}\n")
    try:
        run(*push)
    except SystemExit:
        git("tag", "--delete", f"v{version}")
        raise


if __name__ == "__main__":
    main(sys.argv[1], dry=bool(os.environ.get("DRY_RUN")))
