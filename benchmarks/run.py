"""The figures of benchmarks/README.md and docs/explanation/speed.md: ``make bench``.

    python -m benchmarks.run            measures, and writes the pages, in about a quarter of an hour
    python -m benchmarks.run --quick    one round of each, and no page is written: to try it out

hyperfine measures whole processes, and a program measures what happens within one. The library and the other
alternate in every round, so that a slow moment of the machine affects both. The table has the median of the
rounds' ratios and their interquartile range. Everything is installed from wheels, as users have it.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Final, NamedTuple

from benchmarks import cost, instructions
from benchmarks.batch_scaling import measure
from benchmarks.cli import MANY, PREPARE, SAMPLE, one_by_one, starts
from benchmarks.measure import (
    BENCH,
    CLEAN,
    PROGRAMS,
    ROOT,
    Times,
    fixed_service,
    in_process,
    local_service,
    machine,
    need,
    peak,
    processes,
    program,
    ratios,
    summary,
)
from tests import figures

ASYNC: Final = ROOT / ".venv-bench-async/bin/python"
CAPO: Final = ROOT / ".venv-peer-capo/bin/python"
PEERS: Final = {
    "aws-resource-validator-cloudhsmv2": ROOT / ".venv-peer-validator/bin/python",
    "boto3-dataclass-cloudhsmv2": ROOT / ".venv-peer-dataclass/bin/python",
}


class Row(NamedTuple):
    """A row of the table: a figure beside what it is measured against, and the target, if there is one."""

    what: str
    against: str
    figure: str
    target: str = ""

    def __str__(self) -> str:
        return f"| {' | '.join(self)} |"


def row(what: str, against: str, values: list[float], sign: str = "", limit: float = 0.0) -> Row:
    """Return a row of ratios. A target that this run missed is marked."""
    missed = {"≤": median(values) > limit, "≥": median(values) < limit, "": False}[sign]
    target = f"{sign} {limit:g}{', **missed**' if missed else ''}" if sign else ""
    return Row(what, against, summary(values), target)


def calls_table(calls: Times) -> Iterator[Row]:
    """Yield the rows about calls without a network."""
    yield row("one call, no network", "boto3", ratios(calls, "library call", "boto3 call"))
    yield row("the same", "boto3 and a plain pydantic model", ratios(calls, "library call", "plain call"))
    yield row("boto3 and a plain pydantic model", "boto3", ratios(calls, "plain call", "boto3 call"))
    unchecked = ratios(calls, "unchecked call", "boto3 call")
    yield row("boto3 with `parameter_validation=False`", "boto3", unchecked)
    yield row(
        "one error, no network", "boto3, `except ClientError`", ratios(calls, "library error", "boto3 error")
    )
    yield row("one warm Lambda invocation", "boto3", ratios(calls, "library lambda", "boto3 lambda"))


def starts_table(times: Times) -> Iterator[Row]:
    """Yield the rows about processes that start."""
    yield row("import, and create a client", "boto3", ratios(times, "library client", "boto3 client"))
    yield row("process start to a READY backup", "boto3", ratios(times, "library restore", "boto3 restore"))
    yield row("the same", "boto3 and one empty pydantic model", ratios(times, "library restore", "floor"))


def fixed_table(rounds: int) -> Iterator[Row]:
    """Yield the rows that are measured with the service of fixed responses."""
    with fixed_service() as environment:
        some = processes(
            {
                "library": program("restore_library"),
                "capo": [str(CAPO), str(PROGRAMS / "restore_capo.py")],
                "import": program("import_library"),
                "three models": program("import_pydantic"),
            },
            environment, rounds=rounds, warm=True,
        )  # fmt: skip
        yield row("process start to a READY backup", "capo-cloudhsm-v2", ratios(some, "library", "capo"))
        models = ratios(some, "import", "three models")
        yield row("`import`, models and exceptions", "pydantic and three empty models", models, "≤", 1.3)

        commands = {"boto3": program("pages_boto3", 100_000)}
        commands |= {f"{size}": program("pages_library", size) for size in (1_000, 10_000, 100_000)}
        pages = processes(commands, environment, rounds=min(rounds, 3))
        listed = ratios(pages, "100000", "boto3")
        yield row("`describe_backups`, 100,000 backups", "boto3's paginator", listed, "≤", 1.15)
        # The difference of two sizes leaves out the start of the process.
        sizes = zip(pages["1000"], pages["10000"], pages["100000"], strict=True)
        growth = [(large - middle) / 10 / (middle - small) for small, middle, large in sizes]
        yield row("time per page, from 10,000 to 100,000 backups", "from 1,000 to 10,000", growth, "≤", 1.25)
        few, all_ = (
            peak(program("pages_library", number), environment, rounds=1) for number in (1_000, 100_000)
        )
        yield Row("its peak memory, 100,000 backups", "1,000 backups", f"{all_ - few:+.1f} MiB", "flat")


def many_table(rounds: int) -> Iterator[Row]:
    """Yield the rows about many restores."""
    loops = in_process(ASYNC, "benchmarks.event_loop", CLEAN, rounds=rounds)
    for milliseconds in (0, 20):
        what = f"1,000 restores on one event loop, a service that takes {milliseconds} ms"
        names = f"library {milliseconds} ms", f"aiobotocore {milliseconds} ms"
        yield row(what, "aiobotocore", ratios(loops, *names))
    all_at_once = 0.0
    with local_service(MANY) as environment:
        for workers in (1, 4, 8, 16):
            commands = {who: program(f"many_{who}", workers) for who in ("library", "boto3")}
            times = processes(commands, environment, *PREPARE, rounds=rounds)
            what = f"throughput, 1,000 restores, {workers} worker{'s' * (workers > 1)}"
            target = ("≥", 0.9) if workers == 8 else ()
            yield row(what, "boto3 in a thread pool", ratios(times, "boto3", "library"), *target)
            all_at_once = median(times["library"])
    faster = one_by_one(rounds) / all_at_once
    yield Row("1,000 restores, 16 workers", "AWS CLI in a loop*", f"{faster:.0f} times as fast", "≥ 50 times")
    few, many = ([measure(number)[1] for _ in range(min(rounds, 3))] for number in (1_000, 10_000))
    growth = [a / b for a, b in zip(many, few, strict=True)]
    yield row("time per restore, 10,000 backups", "1,000 backups", growth, "≤", 1.25)


def command_table(rounds: int) -> Iterator[Row]:
    """Yield the rows about the command line."""
    times = starts(rounds)
    for ours, aws in (
        ("--help", "aws --version"),
        ("list", "aws describe-backups"),
        ("list --output table", "aws describe-backups"),
    ):
        yield row(f"`cloudhsm-restore {ours}`", f"`{aws}`", ratios(times, ours, aws))


def models_table(rounds: int) -> Iterator[Row]:
    """Yield the rows about models that are built from dicts, in turns."""
    times: dict[str, dict[str, Times]] = {}
    for _ in range(rounds):
        for name, python in {"library": BENCH, **PEERS}.items():
            for what, [seconds] in in_process(python, "benchmarks.models", CLEAN, rounds=1).items():
                times.setdefault(what, {}).setdefault(name, []).append(seconds)
    for what, each in times.items():
        for peer in PEERS:
            target = ("≤", 1.0) if "valid" in peer else ()
            yield row(f"100,000 backups from dicts: {what}", peer, ratios(each, "library", peer), *target)


def main() -> None:
    """Measure, and write the pages."""
    need("hyperfine", "valgrind")
    for python in (BENCH, ASYNC, CAPO, *PEERS.values()):
        if not Path(python).exists():
            raise SystemExit(f"{python} is missing. Run: make bench")
    quick = "--quick" in sys.argv
    many, some, few = (1, 1, 1) if quick else (9, 5, 3)
    began = monotonic()

    counts = instructions.count()
    print(f"The instructions are counted, after {monotonic() - began:.0f} s.", flush=True)
    calls = in_process(BENCH, "benchmarks.call_overhead", CLEAN, rounds=many)
    processes_ = cost.starts(many)
    peaks = cost.memory(some)
    print(*cost.table(calls, processes_, peaks, counts), sep="\n", flush=True)
    if not quick:
        instructions.write(counts)
        cost.write(calls, processes_, peaks, counts)
    lines = ["| what | against | ratio (middle half) | target |", "| --- | --- | --- | --- |"]
    for part in (
        calls_table(calls),
        starts_table(processes_),
        fixed_table(many),
        many_table(few),
        command_table(some),
        models_table(some),
    ):
        for each in part:
            lines.append(str(each))
            print(each, flush=True)
        print(f"{monotonic() - began:.0f} s", flush=True)
    library, boto3 = peaks
    growth = Row(
        "peak memory of the process that restores one", "boto3", f"{library - boto3:+.1f} MiB", "≤ +10 MiB"
    )
    lines += [str(growth), "", f"\\* from a sample of {SAMPLE}."]
    if not quick:
        peers = [f"{name} {_version(python, name)}" for name, python in PEERS.items()]
        figures.write("benchmarks", lines, f"botocore {version('botocore')}", machine(), *peers)


def _version(python: Path, name: str) -> str:
    [found] = python.parent.parent.glob(f"lib/python*/site-packages/{name.replace('-', '_')}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


if __name__ == "__main__":
    main()
