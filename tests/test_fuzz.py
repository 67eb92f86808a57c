"""What `make fuzz` does for an hour, in seconds: its corpus, and mutations of it, the same every time."""

import random
from pathlib import Path
from typing import Final

import pytest

from cloudhsm_restore import Backup, RestoreClient

from .fuzz import mutation
from .fuzz.targets import TARGETS

CORPUS: Final = Path(__file__).parent / "corpus"
MUTATORS: Final = {"answer": mutation.script, "wire": mutation.wire_script}
MUTATED: Final = {"answer": 1500, "wire": 300, "request": 300, "model": 1500, "arguments": 20}
INPUTS: Final = [path for target in TARGETS for path in sorted((CORPUS / target).iterdir())]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus(path: Path) -> None:
    """Every input that once showed something holds what must hold."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_mutations(target: str) -> None:
    """So does what is made of them at random, with a fixed seed and the changes piling up."""
    chance = random.Random(f"cloudhsm-restore {target}")

    def plain(part: bytes, most: int) -> bytes:
        return _noise(part, chance)[:most]

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
    """A few bytes changed, put in, or left out."""
    noisy = bytearray(part)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(noisy))
        noisy[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    return bytes(noisy)


def _another(*_: object) -> Backup:
    return Backup(backup_id="backup-7777777zzzz")


def _none(_: bytes) -> list[object]:
    return []


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("answer", "another backup"),
        ("request", "deserve"),
        ("model", "tags"),
        ("arguments", "another backup"),
    ],
)
def test_targets_can_fail(target: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target notices when what it watches is broken."""
    if target in {"answer", "arguments"}:
        monkeypatch.setattr(RestoreClient, "restore_backup", _another)
    if target == "request":
        monkeypatch.setattr("tests.fuzz.requests.valid_requests", _none)
    if target == "model":
        monkeypatch.setattr(Backup, "tags", {"Env": "another"})
    data = {"answer": "restored", "request": "restore", "model": "whole", "arguments": "plain"}[target]
    with pytest.raises(AssertionError, match=what):
        TARGETS[target]((CORPUS / target / data).read_bytes())
