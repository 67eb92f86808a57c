"""The pytest plugin, in projects of their own: it is found by itself, light, and works with other plugins."""

import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TESTS = """
import pytest

from cloudhsm_restore import InvalidRequestError, RestoreClient, ThrottlingError

ID = "backup-a2b3c4d5e6f"


def test_responses_are_queued(restore_stubber):
    for _ in range(20):
        restore_stubber.add_error(ThrottlingError)
    restore_stubber.add_backup(backup_id=ID)
    assert restore_stubber.client.ensure_restored(ID, timeout=3600).backup_state == "READY"


def test_a_service_is_there(local_cloudhsm):
    backup = local_cloudhsm.add_backup(backup_state="PENDING_DELETION")
    local_cloudhsm.inject("throttled", times=20)
    client = local_cloudhsm.client(virtual_time=True)
    assert client.ensure_restored(backup.backup_id, timeout=3600).backup_state == "READY"


def test_code_that_creates_its_client(local_cloudhsm):
    backup = local_cloudhsm.add_backup(backup_state="PENDING_DELETION")
    with RestoreClient() as client:
        assert client.restore_backup(backup.backup_id).backup_state == "READY"
"""

ASYNC = """
import pytest

from cloudhsm_restore import InvalidRequestError, ThrottlingError

ID = "backup-a2b3c4d5e6f"

{mark}


@pytest.mark.parametrize("number", range(3))
async def test_responses_are_queued(async_restore_stubber, number):
    for _ in range(20):
        async_restore_stubber.add_error(ThrottlingError)
    async_restore_stubber.add_backup(backup_id=ID)
    backup = await async_restore_stubber.client.ensure_restored(ID, timeout=3600)
    assert backup.backup_state == "READY"


async def test_many(async_restore_stubber):
    for _ in range(20):
        async_restore_stubber.add_backup()
    ids = [f"backup-{{number}}" for number in range(20)]
    results = [each async for each in async_restore_stubber.client.restore_backups(ids)]
    assert sorted(each.backup_id for each in results) == sorted(ids)


async def test_an_error(async_restore_stubber):
    async_restore_stubber.add_error(InvalidRequestError)
    with pytest.raises(InvalidRequestError):
        await async_restore_stubber.client.restore_backup(ID)
"""


def run(folder: Path, modules: Mapping[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest in a project that has only these test modules, with warnings as errors."""
    for name, source in modules.items():
        (folder / f"test_{name}.py").write_text(source, "utf-8")
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    if "no:asyncio" not in options:  # pytest-asyncio warns without it
        command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


MARKS = {
    "pytest_asyncio": "pytestmark = pytest.mark.asyncio",
    "one_loop": "pytestmark = pytest.mark.asyncio(loop_scope='module')",
    "anyio": (
        "pytestmark = pytest.mark.anyio\n\n\n"
        "@pytest.fixture(params=['asyncio', ('asyncio', {'use_uvloop': True})])\n"
        "def anyio_backend(request):\n    return request.param"
    ),
}


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_fixtures_are_found(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A project without a conftest has the fixtures, under -W error, and with xdist.

    The asynchronous one works with pytest-asyncio, with one event loop or several, and with anyio.
    """
    modules = {name: ASYNC.format(mark=mark) for name, mark in MARKS.items()}
    ran = run(tmp_path, {"plain": TESTS, **modules}, *options)
    assert "23 passed" in ran.stdout, ran.stdout + ran.stderr


def test_an_asynchronous_fixture_without_a_plugin(tmp_path: Path) -> None:
    """``asyncio.run`` in a plain test will do, too."""
    source = """
import asyncio


def test_it(async_restore_stubber):
    async_restore_stubber.add_backup()
    asyncio.run(async_restore_stubber.client.restore_backup("backup-a2b3c4d5e6f"))
"""
    ran = run(tmp_path, {"it": source}, "-p", "no:asyncio", "-p", "no:anyio")
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_unused_responses_fail_the_test(tmp_path: Path) -> None:
    """A queued response that is not used is an error at the end, but not after a test that failed already."""
    source = """
def test_unused({fixture}):
    {fixture}.add_backup()


def test_failed({fixture}):
    {fixture}.add_backup()
    assert False
"""
    fixtures = ("restore_stubber", "async_restore_stubber")
    ran = run(tmp_path, {fixture: source.format(fixture=fixture) for fixture in fixtures})
    assert "2 failed, 2 passed, 2 errors" in ran.stdout, ran.stdout + ran.stderr
    assert ran.stdout.count("ERROR at teardown of test_unused") == 2
    assert ran.stdout.count("responses remaining in queue") >= 2


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """With ``-p no:cloudhsm_restore`` the fixtures of the plugin do not exist."""
    ran = run(tmp_path, {"it": TESTS}, "-p", "no:cloudhsm_restore")
    assert "fixture 'restore_stubber' not found" in ran.stdout


def test_loading_it_imports_nothing_but_pytest(tmp_path: Path) -> None:
    """A project that does not use the fixtures does not pay for them: no boto3, no pydantic, no asyncio."""
    source = """
import sys


def test_it():
    imported = {name for name in sys.modules if name.startswith("cloudhsm_restore")}
    assert imported == {"cloudhsm_restore", "cloudhsm_restore._version", "cloudhsm_restore.pytest_plugin"}
    heavy = {"boto3", "botocore", "pydantic", "asyncio", "http.server"}
    assert not heavy & set(sys.modules)
"""
    ran = run(
        tmp_path,
        {"it": source},
        "-p",
        "no:asyncio",
        "-p",
        "no:anyio",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:cov",
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_entry_point() -> None:
    """pytest finds the plugin by the name with which it is switched off."""
    [found] = entry_points(group="pytest11", name="cloudhsm_restore")
    assert found.value == "cloudhsm_restore.pytest_plugin"


def test_the_fixtures_of_this_project(restore_stubber: object, local_cloudhsm: object) -> None:
    """The project's own tests have them as well."""
    assert restore_stubber
    assert local_cloudhsm


def test_the_page_on_unit_tests_is_a_module_that_pytest_runs(tmp_path: Path) -> None:
    """The blocks of the page, one after the other, are a test module that needs no conftest."""
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "unit-tests.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    tests = sum(len(re.findall(r"^(async )?def test_", block, re.MULTILINE)) for block in blocks)
    assert tests > 10
    ran = run(tmp_path, {"page": "\n\n".join(blocks)})
    assert f"{tests} passed" in ran.stdout, ran.stdout + ran.stderr
