"""The table of benchmarks/README.md, and the plot of docs/explanation/speed.md: ``make bench``.

hyperfine measures whole processes, and pyperf within one. The library and the other alternate in every round,
and the rounds are many and short, so that a slow moment of the machine affects both. The table has the median
of the rounds' ratios and their interquartile range. Everything is installed from wheels, as users have it.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import pyperf

from benchmarks.batch_scaling import measure
from benchmarks.cli import _PREPARE, _SAMPLE, _one_by_one, _served

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "benchmarks/programs"
PAGE = ROOT / "benchmarks/README.md"
BENCH, ASYNC = ROOT / ".venv-bench/bin/python", ROOT / ".venv-bench-async/bin/python"
AWS = ROOT / ".venv-aws/bin/aws"
CAPO = ROOT / ".venv-peer-capo/bin/python"
PEERS = {
    "aws-resource-validator-cloudhsmv2": ROOT / ".venv-peer-validator/bin/python",
    "boto3-dataclass-cloudhsmv2": ROOT / ".venv-peer-dataclass/bin/python",
}
ROUNDS = int(os.environ.get("ROUNDS", "15"))
MIB = 1024

Times = dict[str, list[float]]
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("AWS_") and name != "PYTHONDONTWRITEBYTECODE"
}


@contextmanager
def fixed_service() -> Iterator[dict[str, str]]:
    """Start ``benchmarks.server``, and yield the environment for its clients."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
            yield CLEAN | {
                "AWS_ENDPOINT_URL_CLOUDHSM_V2": url,
                "AWS_ENDPOINT_URL": url,  # capo-cloudhsm-v2 reads this one and AWS_REGION.
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        finally:
            process.terminate()


def program(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one of the programs."""
    return [str(BENCH), str(PROGRAMS / f"{name}.py"), *map(str, arguments)]


def processes(
    commands: Mapping[str, list[str]], environment: Mapping[str, str], *options: str, rounds: int = ROUNDS
) -> Times:
    """Return hyperfine's median for each command in each round."""
    times: Times = {name: [] for name in commands}
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        for _ in range(rounds):
            subprocess.run(
                ["hyperfine", "-N", "--style", "none", "--export-json", str(result), *options,
                 *map(shlex.join, commands.values())],
                env=dict(environment), check=True, capture_output=True, cwd=folder,
            )  # fmt: skip
            for name, runs in zip(commands, json.loads(result.read_text())["results"], strict=True):
                times[name].append(median(runs["times"]))
    return times


def in_process(
    script: str, pythons: Mapping[str, Path], environment: Mapping[str, str], *options: str
) -> dict[str, Times]:
    """Return pyperf's median for each benchmark of a script, in each environment and each round."""
    times: dict[str, Times] = {name: {} for name in pythons}
    environment = {**environment, "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        for name, python in list(pythons.items()) * ROUNDS:
            subprocess.run(
                [str(python), str(ROOT / f"benchmarks/{script}.py"), "--quiet", "-p", "1", "-w", "1", *options,
                 "-o", str(result), "--inherit-environ",
                 ",".join(["PYTHONPATH", *(n for n in environment if n.startswith("AWS_"))])],
                env=environment, check=True, capture_output=True,
            )  # fmt: skip
            for benchmark in pyperf.BenchmarkSuite.load(str(result)).get_benchmarks():
                times[name].setdefault(benchmark.get_name(), []).append(benchmark.median())
            result.unlink()
    return times


def peak(command: list[str], environment: Mapping[str, str]) -> float:
    """Return the peak memory of a command in MiB, the median of the rounds."""
    return median(_peak(command, environment) for _ in range(ROUNDS))


def _peak(command: list[str], environment: Mapping[str, str]) -> float:
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{shlex.join(command)} failed")
    return usage.ru_maxrss / MIB


def compare(times: Times, subject: str, baseline: str) -> str:
    """Return the median and the interquartile range of the ratios of two commands."""
    return summary([a / b for a, b in zip(times[subject], times[baseline], strict=True)])


def summary(ratios: list[float]) -> str:
    """Return the median and the interquartile range of ratios."""
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.3f} ({lower:.3f}–{upper:.3f})"


def table() -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows: the subject, the baseline, the ratio, and the target."""
    calls = in_process("call_overhead", {"": BENCH}, CLEAN, "-n", "3", "-l", "256")[""]
    yield "one `restore_backup`, no network", "boto3", summary(calls["library, boto3"]), "≤ 1.02"
    yield "the same", "boto3 and a plain pydantic model", summary(calls["library, plain model"]), ""
    yield "boto3 and a plain pydantic model", "boto3", summary(calls["plain model, boto3"]), ""
    yield "boto3 with `parameter_validation=False`", "boto3", summary(calls["unchecked, boto3"]), ""
    yield "one error, no network", "boto3, `except ClientError`", summary(calls["error, boto3"]), "≤ 1.05"

    with fixed_service() as environment:
        start = processes(
            {
                "library": program("restore_library"),
                "floor": program("restore_boto3_and_model"),
                "boto3": program("restore_boto3"),
                "import": program("import_library"),
                "three models": program("import_pydantic"),
                "interpreter": [str(BENCH), "-c", "pass"],
                "capo": [str(CAPO), str(PROGRAMS / "restore_capo.py")],
                "aws": [str(AWS), "cloudhsmv2", "restore-backup", "--backup-id", "backup-a2b3c4d5e6f"],
            },
            environment, "--runs", "1", rounds=3 * ROUNDS,
        )  # fmt: skip
        plot({name: median(values) for name, values in start.items()})
        yield (
            "process start to a READY backup",
            "boto3 and one empty pydantic model",
            compare(start, "library", "floor"),
            "≤ 1.02",
        )
        yield "the same", "boto3 alone", compare(start, "library", "boto3"), ""
        yield "the same", "AWS CLI", compare(start, "library", "aws"), "≤ 0.85"
        yield "the same", "capo-cloudhsm-v2", compare(start, "library", "capo"), ""
        yield (
            "`import`, models and exceptions",
            "pydantic and three empty models",
            compare(start, "import", "three models"),
            "≤ 1.3",
        )

        pages = processes(
            {"library": program("pages_library", 100_000), "boto3": program("pages_boto3", 100_000)}, environment,
            "--runs", "1", rounds=9,
        )  # fmt: skip
        yield (
            "`describe_backups`, 100,000 backups",
            "boto3's paginator",
            compare(pages, "library", "boto3"),
            "≤ 1.15",
        )
        sizes = (1_000, 10_000, 100_000)
        growth = processes(
            {str(size): program("pages_library", size) for size in sizes},
            environment,
            "--runs",
            "1",
            rounds=5,
        )
        # The difference of two sizes leaves out the start of the process.
        small, middle, large = (growth[str(size)] for size in sizes)
        per_page = {
            "large": [(b - a) / 90_000 for a, b in zip(middle, large, strict=True)],
            "small": [(b - a) / 9_000 for a, b in zip(small, middle, strict=True)],
        }
        yield (
            "time per page, from 10,000 to 100,000 backups",
            "from 1,000 to 10,000",
            compare(per_page, "large", "small"),
            "flat",
        )
        few, all_ = (peak(program("pages_library", number), environment) for number in (1_000, 100_000))
        yield "its peak memory, 100,000 backups", "1,000 backups", f"{all_ - few:+.1f} MiB", "flat"

        library, boto3 = (peak(program(f"restore_{name}"), environment) for name in ("library", "boto3"))
        yield "peak memory of the one-restore process", "boto3", f"{library - boto3:+.1f} MiB", "≤ +10 MiB"

        many = in_process("event_loop", {"": ASYNC}, environment, "-n", "1", "-l", "1")[""]
        yield "1,000 restores on one event loop", "aiobotocore", summary(many["1,000 restores"]), "≤ 1.05"

    with _served(1000) as local:
        for workers in (1, 4, 8, 16):
            times = processes(
                {"library": program("many_library", workers), "boto3": program("many_boto3", workers)},
                CLEAN | local, "--runs", "1", "--prepare", _PREPARE, rounds=5 if workers == 8 else 3,
            )  # fmt: skip
            target = "≥ 0.9" if workers == 8 else ""
            yield (
                f"throughput, 1,000 restores, {workers} worker{'s' * (workers > 1)}",
                "boto3 in a thread pool",
                compare(times, "boto3", "library"),
                target,
            )
        all_at_once = median(times["library"])
    with _served(_SAMPLE) as some:
        yield (
            "1,000 restores, 16 workers",
            "AWS CLI in a loop*",
            f"{_one_by_one(some) / all_at_once:.0f} times as fast",
            "≥ 50 times",
        )

    each = {number: [measure(number)[1] for _ in range(3)] for number in (1_000, 10_000)}
    many = {"many": each[10_000], "few": each[1_000]}
    yield "time per restore, 10,000 backups", "1,000 backups", compare(many, "many", "few"), "flat"

    build = in_process("models", {"library": BENCH} | PEERS, CLEAN, "-n", "1", "-l", "1")
    for peer in PEERS:
        for name, seconds in build["library"].items():
            pair = {"library": seconds, peer: build[peer][name]}
            yield (
                f"100,000 backups from dicts: {name}",
                peer,
                compare(pair, "library", peer),
                "< 1" if "valid" in peer else "",
            )


def plot(start: Mapping[str, float]) -> None:
    """Draw the shares of the time of the process that restores one backup."""
    parts = {
        "Python": start["interpreter"],
        "boto3": start["boto3"] - start["interpreter"],
        "pydantic": start["floor"] - start["boto3"],
        "cloudhsm-restore": max(start["library"] - start["floor"], 0.0),
    }
    whole, left = sum(parts.values()), 0.0
    shapes = ['<title id="startup-title">Process start to a READY backup, by component</title>']
    for row, (name, seconds) in enumerate(parts.items()):
        share, y = seconds / whole, 62 + row * 24
        shapes += [
            f'<rect class="part{row}" x="{left * 360:.1f}" y="4" width="{max(share * 360, 1):.1f}" height="40"/>',
            f'<rect class="part{row}" x="0" y="{y}" width="14" height="14"/>',
            f'<text x="22" y="{y + 12}">{name} {share:.1%}</text>',
        ]
        left += share
    svg = (
        '<svg class="startup" viewBox="0 0 360 152" role="img" aria-labelledby="startup-title" '
        'xmlns="http://www.w3.org/2000/svg">\n  ' + "\n  ".join(shapes) + "\n</svg>\n"
    )
    (ROOT / "docs/_static/startup.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    """Measure, and write the table into the page."""
    lines = ["| what | against | ratio (middle half) | target |", "| --- | --- | --- | --- |"]
    for row in table():
        lines.append(f"| {' | '.join(row)} |")
        sys.stdout.write(lines[-1] + "\n")
        sys.stdout.flush()
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- measured -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    PAGE.write_text(
        f"{before}<!-- measured -->\n" + "\n".join(lines) + f"\n<!-- end -->\n{after}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
