"""Fuzzing in seconds: the corpus of `make fuzz`, and mutations of it, the same in every run."""

import random
import re
from pathlib import Path
from typing import Final

import pytest

from cloudhsm_restore import Backup, RestoreClient, RestoreError
from cloudhsm_restore._redaction import KEPT, Masker

from .counting import calls
from .fuzz.mutation import REPEATED
from .fuzz.responses import BACKUP_ID, scripted
from .fuzz.sizes import FORMS
from .fuzz.targets import TARGETS

CORPUS: Final = Path(__file__).parent / "corpus"
MUTATED: Final = {"response": 800, "error": 120, "wire": 300, "request": 300, "model": 1500, "arguments": 20}
INPUTS: Final = [path for target in TARGETS for path in sorted((CORPUS / target).iterdir())]

# After a malformed head or redirect, http.client and urllib3 leave their socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus_violates_no_promise(path: Path) -> None:
    """No input of the corpus violates a promise."""
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_violate_no_promise(target: str) -> None:
    """No random mutation of the corpus violates a promise; the seed is fixed."""
    chance = random.Random(f"cloudhsm-restore {target}")

    def plain(part: bytes, max_size: int) -> bytes:
        return _noise(part, chance)[:max_size]

    seeds = [path.read_bytes() for path in INPUTS if path.parent.name == target]
    for number in range(MUTATED[target]):
        data = TARGETS[target].mutate(chance.choice(seeds), chance, plain)
        try:
            TARGETS[target].run(data)
        except BaseException:
            print(f"mutation {number} of {target}: {data!r}")
            raise
        if number % 3 == 0:
            seeds.append(data)


def _noise(part: bytes, chance: random.Random) -> bytes:
    """Return the bytes with a few of them changed, inserted, or removed."""
    noisy = bytearray(part)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(noisy))
        noisy[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    return bytes(noisy)


def test_quadratic_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on the work for each byte is exceeded if the masking of an error response is quadratic."""

    def mask(_: Masker, text: str) -> str:
        return re.sub("/*@", "", text[:20_000])[:KEPT]

    monkeypatch.setattr(Masker, "text", mask)
    with pytest.raises(AssertionError, match="s of CPU time for 65,"):
        TARGETS["response"].run(b'r1\n400\n\n{"__type": "X", "Message": "@15*//@"}')


@pytest.mark.parametrize("piece", [*REPEATED, *FORMS.values()])
@pytest.mark.parametrize(
    "form", ["502\n\n<html>{}", '400\n\n{{"__type": "X", "Message": "{}"}}', "400\nx-a: {}\n\n"]
)
def test_an_error_page_16_times_as_long_is_no_more_work(form: str, piece: str) -> None:
    """An error page of 1 MiB takes as many calls of functions as a page of 64 KiB."""

    def work(size: int) -> int:
        page = form.format(piece * (size // len(piece))).encode("utf-8", "replace")
        rig = scripted()
        rig.service.start([page])

        def fail() -> None:
            with pytest.raises(RestoreError):
                rig.clients[1].restore_backup(BACKUP_ID)

        return calls(fail).total()

    work(1000)
    assert work(16 * 65_000) <= 1.1 * work(65_000)


def _another_backup(*_: object) -> Backup:
    return Backup(backup_id="backup-7777777zzzz")


def _as_it_is(_: Masker, error: BaseException, handled: BaseException | None) -> BaseException:
    return error


def _none(_: bytes) -> list[object]:
    return []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("response", "another backup"),
        ("error", "is shown"),
        ("request", "valid"),
        ("model", "tags"),
        ("arguments", "another backup"),
    ],
)
def test_targets_can_fail(target: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target raises if its promise is violated."""
    if target in {"response", "arguments"}:
        monkeypatch.setattr(RestoreClient, "restore_backup", _another_backup)
    if target == "error":
        monkeypatch.setattr(Masker, "exception", _as_it_is)
    if target == "request":
        monkeypatch.setattr("tests.fuzz.requests.valid_requests", _none)
    if target == "model":
        monkeypatch.setattr(Backup, "tags", {"Env": "another"})
    data = {
        "response": "restored",
        "error": "nested",
        "request": "restore",
        "model": "whole",
        "arguments": "plain",
    }[target]
    with pytest.raises(AssertionError, match=message):
        TARGETS[target].run((CORPUS / target / data).read_bytes())
