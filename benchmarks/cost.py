"""What this library costs beside boto3, in absolute terms: the table of docs/explanation/speed.md (``make bench``)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distribution, version
from statistics import median

from packaging.requirements import Requirement

from benchmarks.instructions import CALLS, PROCESSES, Counts
from benchmarks.measure import Times, fixed_service, machine, peak, processes, program
from tests import figures


def starts(rounds: int) -> Times:
    """Return the seconds of processes that start, beside boto3 with a plain model and the interpreter alone."""
    commands = {
        f"{who} {name}": program(f"{name}_{who}")
        for name in PROCESSES.values()
        for who in ("library", "boto3")
    }
    commands |= {"floor": program("restore_boto3_and_model"), "interpreter": program("nothing")}
    with fixed_service() as environment:
        return processes(commands, environment, rounds=rounds, warm=True)


def memory(rounds: int) -> tuple[float, float]:
    """Return the peak memory in MiB of a process that restores one backup, with the library and with boto3."""
    with fixed_service() as environment:
        library, boto3 = (
            peak(program(f"restore_{who}"), environment, rounds=rounds) for who in ("library", "boto3")
        )
    return library, boto3


def installed(name: str) -> float:
    """Return the size in MiB of a distribution and all that it needs, without compiled modules."""
    return sum(_size(each) for each in _closure(name, {}).values()) / 1024 / 1024


def _closure(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key not in found:
        found[key] = distribution(name)
        for requirement in map(Requirement, found[key].requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _closure(requirement.name, found)
    return found


def _size(each: Distribution) -> int:
    paths = [each.locate_file(file) for file in each.files or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.exists())  # type: ignore[attr-defined]


def table(calls: Times, starts: Times, peaks: tuple[float, float], counts: Counts) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| What | boto3 | cloudhsm-restore | Difference | Ratio | Instructions, in millions |"
    yield f"|{' --- |' * 6}"
    for times, rows, unit, scale in ((calls, CALLS, "µs", 1e6), (starts, PROCESSES, "ms", 1e3)):
        for what, name in rows.items():
            library, boto3 = (median(times[f"{who} {name}"]) * scale for who in ("library", "boto3"))
            # The ratio of each round is of one moment of the machine, so its median is not that of the medians.
            ratio = median(
                a / b for a, b in zip(times[f"library {name}"], times[f"boto3 {name}"], strict=True)
            )
            more, fewer = counts[what]
            yield (
                f"| {what[0].upper()}{what[1:]} | {boto3:.0f} {unit} | {library:.0f} {unit} "
                f"| {library - boto3:+.0f} {unit} | {ratio:.2f} "
                f"| {more / 1e6:,.2f} / {fewer / 1e6:,.2f} = {more / fewer:.2f} |"
            )
    sizes = installed("cloudhsm-restore"), installed("boto3")
    for what, (library, boto3) in {
        "Peak memory of that process": peaks,
        "Size on disk, with dependencies": sizes,
    }.items():
        yield (
            f"| {what} | {boto3:.1f} MiB | {library:.1f} MiB | {library - boto3:+.1f} MiB "
            f"| {library / boto3:.2f} | |"
        )


def plot(start: Mapping[str, float]) -> Iterable[str]:
    """Return a plot of the shares of the time of the process that restores one backup, as a block of HTML."""
    parts = {
        "Python": start["interpreter"],
        "boto3": start["boto3 restore"] - start["interpreter"],
        "pydantic": start["floor"] - start["boto3 restore"],
        "cloudhsm-restore": max(start["library restore"] - start["floor"], 0.0),
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
    opening = (
        '<svg class="startup" viewBox="0 0 360 152" role="img" aria-labelledby="startup-title" '
        'xmlns="http://www.w3.org/2000/svg">'
    )
    return "```{raw} html", opening, *(f"  {shape}" for shape in shapes), "</svg>", "```"


def write(calls: Times, starts: Times, peaks: tuple[float, float], counts: Counts) -> None:
    """Write the table and the plot into their page."""
    lines = [
        *table(calls, starts, peaks, counts),
        "",
        "From the start of a process to a restored backup, most of the time is boto3's:",
        "",
        *plot({name: median(seconds) for name, seconds in starts.items()}),
    ]
    figures.write("cost", lines, f"botocore {version('botocore')}", machine())
