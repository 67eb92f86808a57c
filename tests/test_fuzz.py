"""Fuzzing in seconds: the corpus of `make fuzz`, and mutations of it, the same in every run."""

import random
from pathlib import Path
from typing import Final

import pytest

from cloudhsm_restore import Backup, RestoreClient

from .fuzz import mutation
from .fuzz.targets import TARGETS

CORPUS: Final = Path(__file__).parent / "corpus"
MUTATORS: Final = {"response": mutation.script, "wire": mutation.wire_script}
MUTATED: Final = {"response": 1500, "wire": 300, "request": 300, "model": 1500, "arguments": 20}
INPUTS: Final = [path for target in TARGETS for path in sorted((CORPUS / target).iterdir())]

# After a malformed head or redirect, http.client and urllib3 leave their socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus_violates_no_promise(path: Path) -> None:
    """No input of the corpus violates a promise."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_violate_no_promise(target: str) -> None:
    """No random mutation of the corpus violates a promise; the seed is fixed."""
    chance = random.Random(f"cloudhsm-restore {target}")

    def plain(part: bytes, max_size: int) -> bytes:
        return _noise(part, chance)[:max_size]

    mutate = MUTATORS.get(target) or getattr(mutation, target)
    seeds = [path.read_bytes() for path in INPUTS if path.parent.name == target]
    for number in range(MUTATED[target]):
        data = mutate(chance.choice(seeds), chance, plain)
        try:
            TARGETS[target](data)
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


def _another_backup(*_: object) -> Backup:
    return Backup(backup_id="backup-7777777zzzz")


def _none(_: bytes) -> list[object]:
    return []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("response", "another backup"),
        ("request", "valid"),
        ("model", "tags"),
        ("arguments", "another backup"),
    ],
)
def test_targets_can_fail(target: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target raises if its promise is violated."""
    if target in {"response", "arguments"}:
        monkeypatch.setattr(RestoreClient, "restore_backup", _another_backup)
    if target == "request":
        monkeypatch.setattr("tests.fuzz.requests.valid_requests", _none)
    if target == "model":
        monkeypatch.setattr(Backup, "tags", {"Env": "another"})
    data = {"response": "restored", "request": "restore", "model": "whole", "arguments": "plain"}[target]
    with pytest.raises(AssertionError, match=message):
        TARGETS[target]((CORPUS / target / data).read_bytes())
