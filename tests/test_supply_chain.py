"""The supply chain: dependencies, workflows, the release, and the build."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tools import licenses

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"


def test_the_page_lists_dependencies_with_their_licenses() -> None:
    """The page lists every installed dependency with its license."""
    page = licenses.PAGE.read_text("utf-8")
    listed = {
        line
        for line in page.splitlines()
        if line.endswith(tuple(f"| {label} |" for label in licenses.COMES_WITH.values()))
    }
    installed = set(licenses.rows(sys.path).values())
    assert len(installed) > 10
    assert installed <= listed, "run: make licenses"


def test_actions_are_pinned_to_one_commit_each() -> None:
    """Every action has a full commit hash and its version, the same in all workflows."""
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS.iterdir():
        for action, pin in re.findall(r"uses: ([^\s@$]+)@?(.*)", path.read_text("utf-8")):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), f"{path.name}: {action}"
            pins.setdefault(action, set()).add(pin)
    assert len(pins) > 4
    assert all(len(versions) == 1 for versions in pins.values())


def test_workflows_have_least_privilege() -> None:
    """Jobs can only read, except those of a release that sign or publish."""
    granted: dict[str, set[str]] = {}
    for path in WORKFLOWS.iterdir():
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {}
        for name, job in workflow["jobs"].items():
            granted[name] = {f"{scope}: {access}" for scope, access in job["permissions"].items()} - {
                "contents: read"
            }
            for step in job.get("steps", ()):
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, f"{path.name}: {name}"
                    assert not granted[name]
    assert {name: grants for name, grants in granted.items() if grants} == {
        "attest": {"id-token: write", "attestations: write"},
        "publish": {"id-token: write"},
        "announce": {"contents: write"},
    }


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, Run]:
    """Create a clone in which version 9.8.7 can be released, and a function that runs commands in it."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"

    def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        identity = {
            f"GIT_{role}_{field}": "a@b" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
        }
        return subprocess.run(
            command,
            cwd=clone,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "HOME": str(tmp_path),
                **identity,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    shutil.copytree(
        ROOT,
        clone,
        ignore=lambda folder, names: [
            name
            for name in names
            if name.startswith((".git", ".venv", ".ci", ".fuzz", ".mutants"))
            or name in {"dist", "_build", "tests", "benchmarks", ".hypothesis"}
        ],
    )
    (clone / ".gitignore").write_text("/dist/\n")
    (clone / ".ci").mkdir()
    (clone / ".ci/run").write_text("echo all checks pass\n")
    (clone / "cloudhsm_restore/_version.py").write_text('__version__ = "9.8.7"\n')
    settings = clone / "pyproject.toml"
    urls = "".join(f'{name} = "https://example.org/{name}"\n' for name in ("Source", "Changelog", "Issues"))
    settings.write_text(f"[project.urls]\n{urls}\n{settings.read_text('utf-8')}")
    (clone / "CHANGELOG.md").write_text(
        "# Changes\n\n## 9.8.7 (2026-01-31)\n\n- A line.\n\n## 9.8.6 (2026-01-01)\n"
    )
    subprocess.run(["git", "init", "--quiet", "--bare", origin], check=True)
    for command in ("init --quiet --initial-branch main", f"remote add origin {origin}", "add --all"):
        run("git", *command.split())
    assert run("git", "commit", "--quiet", "--message", "Everything").returncode == 0
    return clone, run


def test_a_dry_run_changes_nothing(release: tuple[Path, Run]) -> None:
    """A dry run checks, builds, and prints the remaining commands; it creates no tag and pushes nothing."""
    clone, run = release
    done = run(sys.executable, "tools/release.py", "9.8.7", DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    assert "all checks pass" in done.stdout
    assert "both builds are identical" in done.stdout
    assert "would run: git tag" in done.stdout
    assert {path.name for path in (clone / "dist").iterdir()} == {
        "cloudhsm_restore-9.8.7-py3-none-any.whl",
        "cloudhsm_restore-9.8.7.tar.gz",
    }
    assert run("git", "tag").stdout == ""
    assert run("git", "ls-remote", "origin").stdout == ""


def test_a_release_pushes_a_tag(release: tuple[Path, Run]) -> None:
    """A release pushes main and a tag whose message has the version's changes."""
    _, run = release
    done = run(sys.executable, "tools/release.py", "9.8.7")
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[1] for line in run("git", "ls-remote", "origin").stdout.splitlines()} == {
        "refs/heads/main",
        "refs/tags/v9.8.7",
        "refs/tags/v9.8.7^{}",
    }
    assert run("git", "tag", "--list", "--format=%(contents)").stdout.strip() == "9.8.7\n\n- A line."


@pytest.mark.parametrize(
    ("command", "version", "reason"),
    [
        ("true", "9.8", "'9.8' is not a valid version"),
        ("git checkout -q -b other", "9.8.7", "the branch is not main"),
        ("touch new", "9.8.7", "uncommitted changes"),
        ("sed -i /^Issues/d pyproject.toml; git commit -qam x", "9.8.7", "no [project.urls] for Issues"),
        ("git tag v9.8.7", "9.8.7", "the tag v9.8.7 exists"),
        ("true", "9.8.6", "_version.py is not 9.8.6"),
        ("sed -i s/2026-01-31/soon/ CHANGELOG.md", "9.8.7", "no section '## 9.8.7 (the date)'"),
        ("sed -i s/2026-01-31/3026-01-31/ CHANGELOG.md", "9.8.7", "no section '## 9.8.7 (the date)'"),
        ("sed -i '/A line/d' CHANGELOG.md", "9.8.7", "is empty"),
        ("echo exit 3 > .ci/run; git commit -qam short", "9.8.7", "bash ended with 3"),
        (
            "echo date > .ci/run; echo date '>' new >> .ci/run; git commit -qam x",
            "9.8.7",
            "checks have changed files",
        ),
    ],
)
def test_a_release_with_a_problem_is_rejected(
    release: tuple[Path, Run], command: str, version: str, reason: str
) -> None:
    """A problem is printed, and nothing is tagged or pushed."""
    _, run = release
    assert run("bash", "-c", command).returncode == 0
    tags = run("git", "tag").stdout
    done = run(sys.executable, "tools/release.py", version)
    assert done.returncode == 1
    assert reason in done.stderr
    assert run("git", "tag").stdout == tags
    assert run("git", "ls-remote", "origin").stdout == ""


def test_a_release_that_cannot_be_pushed_leaves_no_tag(release: tuple[Path, Run]) -> None:
    """If the push is rejected, the tag is deleted; if main is behind, the checks do not run."""
    clone, run = release
    assert run("git", "push", "--quiet", "origin", "main").returncode == 0
    (clone.parent / "origin/hooks/pre-receive").write_text("#!/bin/sh\nexit 1\n")
    (clone.parent / "origin/hooks/pre-receive").chmod(0o755)
    assert "not released: git ended with 1" in run(sys.executable, "tools/release.py", "9.8.7").stderr
    assert run("git", "tag").stdout == ""
    assert run("git", "reset", "--quiet", "--hard", "HEAD").returncode == 0
    (clone.parent / "origin/hooks/pre-receive").unlink()
    for command in (
        "commit --quiet --allow-empty -m upstream",
        "push --quiet origin main",
        "reset -q --hard HEAD~",
    ):
        assert run("git", *command.split()).returncode == 0
    done = run(sys.executable, "tools/release.py", "9.8.7")
    assert "origin/main has commits that this branch lacks" in done.stderr
    assert "all checks pass" not in done.stdout


def test_builds_that_differ_are_an_error(release: tuple[Path, Run]) -> None:
    """The build fails if its bytes depend on the machine, here on the times of its files."""
    clone, run = release
    settings = clone / "pyproject.toml"
    settings.write_text(settings.read_text("utf-8") + "\n[tool.hatch.build]\nreproducible = false\n")
    done = run(sys.executable, "tools/build.py")
    assert done.returncode == 1
    assert "the builds differ" in done.stderr
