"""The mutation run: does a test fail if one place of the core is changed?

    python -m tests.mutants --sample 200 --budget 20 --write

A mutant is the library with one change, such as ``<=`` for ``<``, or a statement left out. The tests that
reach the changed line run against it, the fastest first, until one of them fails: the mutant is killed. A
mutant that no test kills is a survivor, which ends the run with exit code 1. ``tests/mutants.toml`` explains
those that are harmless, which are not run.

mutmut 3.8 was tried. It leaves out what stands outside of functions and what is decorated, so that tables,
classes, and properties have no mutants. It has no seeded sample, and no place for an explanation.

Each mutant runs in a process of its own, forked from this one, which has loaded boto3 and pytest already. It
runs in a copy of the project, so that the processes that tests start have the mutant, too. Which tests reach
a line is recorded first, and again for each test file that has changed.
"""

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, Self, cast

import pytest
from coverage import Coverage

from . import figures

ROOT: Final = Path(__file__).parent.parent
WORK: Final = ROOT / ".mutants"
EXPLAINED: Final = ROOT / "tests/mutants.toml"
NOT_CORE: Final = {"__init__.py", "__main__.py", "_version.py", "pytest_plugin.py"}
MODULES: Final = sorted({path.name for path in figures.PACKAGE.glob("*.py")} - NOT_CORE)
COPIED: Final = ("cloudhsm_restore", "docs", "tests", "pyproject.toml", "README.md")
TESTS: Final = (
    "aio", "call", "client", "contract", "ensure_restored", "environments", "exceptions", "fault_injection",
    "fuzz", "isolation", "models", "redaction", "schema", "state_machine", "state_space", "stubber",
    "throttling", "tls", "virtual_time",
)  # fmt: skip
"""The test files of the core. The others test the pages, the style, the command line, and the helpers."""
LOADED: Final = (
    "_hypothesis_pytestplugin", "anyio.pytest_plugin", "boto3", "botocore.parsers", "botocore.stub",
    "hypothesis.strategies", "jsonschema", "opentelemetry.instrumentation.botocore",
    "opentelemetry.sdk.trace", "pydantic", "pytest_asyncio.plugin", "pytest_cov.plugin", "sybil", "trustme",
)  # fmt: skip
"""What the tests need, so that it is imported once. The library itself must not be among it."""


MAX_LINES: Final = 1_000
EVERYWHERE: Final = (0, MAX_LINES - 1)
FAILED, ENDED = 98, 99
"""Exit codes: pytest itself failed; a `BaseException` ended it, perhaps the mutant's."""


# --- The mutants ---


class Mutant(NamedTuple):
    """The library with one change."""

    module: str
    line: int
    text: str
    """The line, so that an explanation stays true if others are added before it."""
    change: str
    source: str
    """The whole module after the change."""
    reach: tuple[int, int]
    """The first and the last line of what has to run for the change to matter."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What an explanation names."""
        return self.module, self.text, self.change


_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: Final[dict[type[ast.operator], ast.operator]] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
    ast.FloorDiv: ast.Mult(),
    ast.Pow: ast.Mult(),
}
_FUNCTIONS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_STATEMENTS: Final = (
    ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Raise, ast.Return, ast.Continue, ast.Break,
    ast.Delete,
)  # fmt: skip
"""What can be left out. An assignment counts if it is to an attribute or an item."""


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a module."""
    source = path.read_bytes()
    lines = source.splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    seen: set[tuple[int, int, str]] = set()
    repeated = Counter[tuple[str, str]]()
    for node, (new, without), reach in _changes(ast.parse(source), EVERYWHERE):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        if (start, end, new) in seen:
            continue
        seen.add((start, end, new))
        before = " ".join(source[start:end].decode().split())
        after = f"({new})" if isinstance(node, ast.expr) else new
        text = lines[node.lineno - 1].decode().strip()
        change = f"without {without}" if without else f"{before} -> {new}"
        repeated[text, change] += 1
        if (number := repeated[text, change]) > 1:
            change += f" ({number})"
        yield Mutant(
            path.name,
            node.lineno,
            text,
            change,
            (source[:start] + after.encode() + source[end:]).decode(),
            reach,
        )


class New(NamedTuple):
    """The text in place of a node."""

    text: str
    without: str = ""
    """What is left out of the node, if that is the only change."""


def _changes(
    node: ast.AST, reach: tuple[int, int], *, last: bool = False
) -> Iterator[tuple[ast.expr | ast.stmt, New, tuple[int, int]]]:
    """Yield the places below a node that can be changed, the new text of each, and its reach.

    Args:
        node: the node.
        reach: that of the statement around it; everywhere outside of functions.
        last: whether it is the last statement of a function.
    """
    if _is_skipped(node):
        return
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    if isinstance(node, ast.stmt):
        if isinstance(node, ast.FunctionDef) and any(
            "cache" in ast.unparse(it) for it in node.decorator_list
        ):
            reach = EVERYWHERE  # Only the first test that needs the result runs it.
        elif is_function:
            reach = node.lineno, node.end_lineno or node.lineno
        elif reach != EVERYWHERE:
            body = getattr(node, "body", None)
            end = max(body[0].lineno - 1, node.lineno) if body else node.end_lineno
            reach = node.lineno, end or node.lineno
        yield from ((node, new, reach) for new in _changed_statement(node, last=last))
    elif isinstance(node, ast.expr):
        yield from ((node, new, reach) for new in _changed_expression(node))
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.comprehension):
        tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]
        # The changes of a comparison, of `not`, `and`, and `or` do more than to negate it.
        negated = (test for test in tests if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp))
        yield from ((test, New(f"not ({ast.unparse(test)})"), reach) for test in negated)
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns"}:
            continue
        children = cast("list[object]", value) if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST):
                yield from _changes(
                    child, reach, last=is_function and field == "body" and child is children[-1]
                )


def _is_skipped(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Assert() | ast.Expr(ast.Constant()):
            return True  # Messages, docstrings, and what documents an invariant.
        case ast.If(ast.Name("TYPE_CHECKING")) | ast.Assign([ast.Name("__all__")]):
            return True
        case ast.FunctionDef(decorator_list=[ast.Name("overload")]):
            return True
        case ast.ClassDef(bases=[ast.Name("Protocol" | "TypedDict")]):
            return True
        case ast.Subscript(ast.Name(name)) if name[0].isupper():
            return True  # A generic type.
        case _:
            return False


def _changed_statement(node: ast.stmt, *, last: bool) -> Iterator[New]:
    match node:
        case ast.Return(value) if last and value is not None:
            return  # Every test of the function would fail.
        case ast.Assign(targets) if not any(
            isinstance(part, ast.Attribute | ast.Subscript) for target in targets for part in ast.walk(target)
        ):
            return
        case ast.AnnAssign(target, value=value) if isinstance(target, ast.Name) or value is None:
            return
        case _ if isinstance(node, _STATEMENTS):
            yield New("pass")
        case _:
            pass
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitOr):
        yield New(f"{ast.unparse(node.target)} = {ast.unparse(node.value)}")


def _changed_expression(node: ast.expr) -> Iterator[New]:
    match node:
        case ast.Constant(bool(value)):
            yield New(str(not value))
        case ast.Constant(int(number) | float(number)):
            yield New(str(number + 1))
        case ast.UnaryOp(ast.Not(), operand):
            yield New(ast.unparse(operand))
        case ast.Call(ast.Name(name), args, keywords) if name in _FUNCTIONS:
            yield New(ast.unparse(ast.Call(ast.Name(_FUNCTIONS[name]), args, keywords)))
        case ast.Tuple(items, ast.Load()) if len(items) > 1 and _is_table(items):
            for item, rest in _each_left_out(items):
                yield New(ast.unparse(ast.Tuple(rest, ast.Load())), ast.unparse(item))
        case ast.Compare() | ast.BinOp() | ast.BoolOp():
            yield from _changed_operation(node)
        case _:
            pass


def _changed_operation(node: ast.Compare | ast.BinOp | ast.BoolOp) -> Iterator[New]:
    match node:
        case ast.Compare(left, ops, comparators):
            for place, comparison in enumerate(ops):
                for other in _COMPARISONS[type(comparison)]:
                    changed = [*ops[:place], other(), *ops[place + 1 :]]
                    yield New(ast.unparse(ast.Compare(left, changed, comparators)))
        case ast.BoolOp(op, values):
            for value, rest in _each_left_out(values):
                yield New(ast.unparse(ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]), ast.unparse(value))
        case ast.BinOp(left, ast.BitOr(), right):
            yield from (New(ast.unparse(side)) for side in (left, right))
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            yield New(ast.unparse(ast.BinOp(left, _OPERATORS[type(operator)], right)))
        case _:
            pass


def _each_left_out(items: list[ast.expr]) -> Iterator[tuple[ast.expr, list[ast.expr]]]:
    return ((item, items[:place] + items[place + 1 :]) for place, item in enumerate(items))


def _is_table(items: list[ast.expr]) -> bool:
    """Return whether a tuple is one of classes, of strings, or of rows, and not a row."""
    return (
        all(isinstance(item, ast.Tuple) for item in items)
        or all(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in items)
        or all(isinstance(item, ast.Name | ast.Attribute) and _name(item)[0].isupper() for item in items)
    )


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


# --- Processes ---


class Job(NamedTuple):
    """A process that runs tests."""

    tree: Path
    deadline: float
    done: Callable[[int | None], None]
    """Gets the exit code of pytest, or None if it took too long."""


class Processes:
    """Runs pytest in forked processes, each in a copy of the project."""

    def __init__(self, jobs: int) -> None:
        for name in LOADED:
            __import__(name)
        self._trees = [WORK / f"tree-{number}" for number in range(jobs)]
        self._running: dict[int, Job] = {}
        for tree in self._trees:
            shutil.rmtree(tree, ignore_errors=True)
            for name in COPIED:
                if (ROOT / name).is_dir():
                    shutil.copytree(
                        ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "_build")
                    )
                else:
                    shutil.copy2(ROOT / name, tree / name)
        # Bytecode is of the source if time and size are the same. So each change has a time of its own.
        self._time = time.time() + 1_000

    def run(
        self,
        work: Callable[[], int],
        timeout: float,
        done: Callable[[int | None], None],
        mutant: Mutant | None = None,
    ) -> None:
        """Run the work in a process, as soon as a copy is free."""
        while not self._trees:
            self._wait()
        tree = self._trees.pop()
        if mutant is not None:
            self._put(tree, mutant.module, mutant.source)
        if (process := os.fork()) == 0:
            os._exit(_in_child(tree, work))

        def finish(code: int | None) -> None:
            if mutant is not None:
                self._put(tree, mutant.module, (ROOT / "cloudhsm_restore" / mutant.module).read_text("utf-8"))
            done(code)

        self._running[process] = Job(tree, time.monotonic() + timeout, finish)

    def join(self) -> None:
        """Wait for all processes."""
        while self._running:
            self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            os.killpg(process, signal.SIGKILL)

    def _put(self, tree: Path, module: str, source: str) -> None:
        path = tree / "cloudhsm_restore" / module
        path.write_text(source, "utf-8")
        self._time += 1
        os.utime(path, (self._time, self._time))

    def _wait(self) -> None:
        time.sleep(0.02)
        for process, job in [*self._running.items()]:
            ended, status = os.waitpid(process, os.WNOHANG)
            late = time.monotonic() > job.deadline
            if not ended and not late:
                continue
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)  # Also what a test has left running.
            if not ended:
                os.waitpid(process, 0)
            del self._running[process]
            self._trees.append(job.tree)
            job.done(os.waitstatus_to_exitcode(status) if ended else None)


def _in_child(tree: Path, work: Callable[[], int]) -> int:
    os.setsid()
    output = os.open(tree / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree), "FAULT_INJECTION_SEED": "1"}
    sys.path[:] = [str(tree), *(path for path in sys.path if path not in {"", str(ROOT)})]
    for name in [name for name in sys.modules if name.partition(".")[0] in {"tests", "cloudhsm_restore"}]:
        del sys.modules[name]
    try:
        return work()
    except BaseException as error:
        os.write(2, repr(error).encode())
        return FAILED if isinstance(error, Exception) else ENDED


class Chosen:
    """A pytest plugin that runs some tests in a given order, and notes how long each takes."""

    def __init__(self, order: Iterable[str] | None = None) -> None:
        self.order: Final = None if order is None else {name: place for place, name in enumerate(order)}
        self.seconds: Final = defaultdict[str, float](float)
        self.failed: Final = set[str]()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the chosen tests."""
        if (order := self.order) is not None:
            items[:] = sorted(
                (item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid]
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up setup, call, and teardown."""
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class Recorder(Chosen):
    """A pytest plugin that notes what each test reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: Final[dict[str, int]] = {}
        """See `Test.lines`."""
        self.starters: Final = set[str]()
        """See `Test.starts_process`."""
        self._running = ""
        sys.addaudithook(self._on_audit)

    def _on_audit(self, event: str, _: object) -> None:
        if event == "subprocess.Popen":
            self.starters.add(self._running)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run a test with its setup and teardown."""
        self._running = item.nodeid
        # One `Coverage` for each test. Contexts crash the interpreter (coverage 7.17), because the threads of
        # one test are still running when the context of the next begins.
        measured = Coverage(data_file=None, config_file=False, include=["*/cloudhsm_restore/*.py"])
        measured.set_option("run:disable_warnings", ["no-data-collected"])
        measured.start()
        try:
            return (yield)
        finally:
            measured.stop()
            data, reached = measured.get_data(), 0
            for file in map(Path, data.measured_files()):
                if file.parent.name == figures.PACKAGE.name and file.name in MODULES:
                    for line in data.lines(str(file)) or ():
                        reached |= _bits(file.name, line, line)
            self.lines[item.nodeid] = reached


def _pytest(plugin: Chosen, *arguments: str) -> int:
    files = sorted({test.partition("::")[0] for test in plugin.order or ()})
    common = ["-qq", "--no-header", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider"]
    # This process has imported plugins before pytest could rewrite their asserts.
    fixed = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-seed=1"]
    return int(pytest.main([*common, *fixed, *arguments, *files], [plugin]))


# --- Which tests reach a line ---


class Test(NamedTuple):
    """What a test reaches."""

    seconds: float
    starts_process: bool
    """Whether it starts a process, in which no lines are recorded."""
    lines: int
    """A bit for each line of the core."""


def _bits(module: str, first: int, last: int) -> int:
    return ((2 << last) - (1 << first)) << (MODULES.index(module) * MAX_LINES)


def record(processes: Processes) -> dict[str, Test]:
    """Return what each test reaches; run the test files that have changed."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(figures.PACKAGE.rglob("*.py"))))
    paths: list[Path] = []
    for name in TESTS:
        digest = code.copy()
        digest.update((ROOT / f"tests/test_{name}.py").read_bytes())
        path = WORK / f"{name}-{digest.hexdigest()[:16]}.json"
        paths.append(path)
        if not path.exists():
            print(f"recording tests/test_{name}.py", flush=True)

            def done(code: int | None, name: str = name) -> None:
                if code != 0:
                    sys.exit(f"tests/test_{name}.py fails without a mutant: exit code {code}")

            processes.run(partial(_record_one, name, path), 1_800, done)
    processes.join()
    recorded = [json.loads(path.read_text("utf-8")) for path in paths]
    return {
        test: Test(seconds, starts, int(lines, base=16))
        for tests in recorded
        for test, (seconds, starts, lines) in tests.items()
    }


def _record_one(name: str, path: Path) -> int:
    plugin = Recorder()
    code = _pytest(plugin, f"tests/test_{name}.py")
    if code == pytest.ExitCode.TESTS_FAILED:
        # Recording makes a test slower, and a few depend on the time.
        print(f"left out: {plugin.failed}")
    elif code != 0:
        return code
    found = {
        test: (seconds, test in plugin.starters, hex(plugin.lines[test]))
        for test, seconds in plugin.seconds.items()
        if test not in plugin.failed
    }
    path.write_text(json.dumps(found), "utf-8")
    return 0


# --- The run ---


def ranked(tests: dict[str, Test], module: str) -> list[str]:
    """Return the tests, first those that are fast and that reach little else than the module.

    Those that differ from others only in a parameter come later.
    """
    lines = _bits(module, *EVERYWHERE)
    numbers = Counter[str]()
    costs: dict[str, float] = {}
    for name, test in sorted(tests.items(), key=lambda item: item[1].seconds):
        function = name.partition("[")[0]
        numbers[function] += 1
        share = (test.lines & lines).bit_count() / (test.lines.bit_count() or 1)
        costs[name] = numbers[function] * (test.seconds + 0.05) / (share + 0.05)
    return sorted(tests, key=costs.__getitem__)


class Run:
    """The tests of mutants."""

    def __init__(self, processes: Processes, budget: float) -> None:
        self.survivors: Final[list[Mutant]] = []
        self._processes: Final = processes
        self._tests: Final = record(processes)
        self._budget: Final = budget
        self._killers: Final[list[tuple[Mutant, str]]] = []
        self._runs = 0

    def check(self) -> None:
        """Run one test with each name without a change. Those that fail are left out of the run."""
        order = {name.partition("[")[0]: name for name, test in self._tests.items() if test.seconds < 1}

        def done(code: int | None, failed: list[str]) -> None:
            if code not in {0, pytest.ExitCode.TESTS_FAILED} or len(failed) > 9:
                sys.exit(f"the tests cannot run without a change: exit code {code}; see {WORK}")
            for test in failed:
                print(f"left out, because it fails without a change: {test}", flush=True)
                del self._tests[test]

        self._run(order.values(), 600, done)
        self._processes.join()

    def judge(self, mutant: Mutant) -> None:
        """Run the tests of a mutant, and note it if it survives."""

        def done(code: int | None, failed: list[str]) -> None:
            if code in {pytest.ExitCode.NO_TESTS_COLLECTED, FAILED}:
                sys.exit(f"no test was run for {mutant.key}: exit code {code}; see {WORK}")
            self._killers.extend((mutant, test) for test in failed)
            if code == 0:
                self.survivors.append(mutant)
                place = f"{mutant.module}:{mutant.line}"
                print(f"survivor: {place}: {mutant.text}\n    {mutant.change}", flush=True)

        tests = self.tests_of(mutant)
        self._run(tests, 20 + 2 * sum(tests.values()), done, mutant)

    def tests_of(self, mutant: Mutant) -> dict[str, float]:
        """Return the tests that reach the change, the most promising first, and the seconds of each."""
        changed = _bits(mutant.module, *mutant.reach)
        found = {name: test for name, test in self._tests.items() if test.lines & changed}
        found = found or {name: test for name, test in self._tests.items() if test.starts_process}
        # Those that have killed a mutant nearby, and those with what was changed, such as an error code, in
        # their parameter.
        near = sorted(
            (abs(killed.line - mutant.line), name)
            for killed, name in self._killers
            if killed.module == mutant.module and name in found
        )
        words = re.findall(r"'(\w+)'", mutant.change)
        named = [name for name in found if any(word in name for word in words)]
        chosen: dict[str, float] = {}
        for name in chain([name for _, name in near[:20]], named, ranked(found, mutant.module)):
            if chosen and sum(chosen.values()) + found[name].seconds > self._budget:
                break
            chosen[name] = found[name].seconds
        return chosen

    def _run(
        self,
        order: Iterable[str],
        timeout: float,
        done: Callable[[int | None, list[str]], None],
        mutant: Mutant | None = None,
    ) -> None:
        self._runs += 1
        failures = WORK / f"failures-{self._runs % 10}.json"
        failures.write_text("[]", "utf-8")

        def read(code: int | None) -> None:
            done(code, json.loads(failures.read_text("utf-8")))

        self._processes.run(
            partial(_run_tests, [*order], failures, stop=mutant is not None), timeout, read, mutant
        )


def _run_tests(order: list[str], failures: Path, *, stop: bool) -> int:
    plugin = Chosen(order)
    code = _pytest(plugin, *(["-x"] if stop else []))
    failures.write_text(json.dumps(sorted(plugin.failed)), "utf-8")
    return code


def explanations() -> dict[tuple[str, str, str], str]:
    """Return the reason for each mutant that is harmless."""
    groups = tomllib.loads(EXPLAINED.read_text("utf-8"))["explained"]
    return {
        (module, line, change): group["reason"]
        for group in groups
        for module, line, change in group["mutants"]
    }


def main() -> None:
    """Run a sample, or all."""
    parser = argparse.ArgumentParser(description="Run the tests against mutants of the core.")
    parser.add_argument("--sample", type=int, help="how many mutants; default: all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds of tests for a mutant (default: 60)"
    )
    parser.add_argument("--module", action="append", help="only this module; can be repeated")
    parser.add_argument("--again", action="store_true", help="only the unexplained survivors of the last run")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run nothing")
    parser.add_argument("--write", action="store_true", help="write the figures into the page")
    options = parser.parse_args()
    everything = [
        mutant
        for name in MODULES
        if not options.module or name in options.module
        for mutant in mutants(figures.PACKAGE / name)
    ]
    last = WORK / "last.json"
    if options.again:
        keys = {tuple(key) for key in json.loads(last.read_text("utf-8"))}
        everything = [mutant for mutant in everything if mutant.key in keys]
    size = min(options.sample or len(everything), len(everything))
    # The sample stays nearly the same if the core changes a little. And in their order, because a test that
    # has killed a mutant often kills the next one.
    chosen = sorted(sorted(everything, key=partial(_lot, options.seed))[:size])
    explained = explanations()
    if options.list:
        for mutant in chosen:
            print(f"{mutant.module}:{mutant.line}: {mutant.change}")
        return
    start = time.monotonic()
    with Processes(options.jobs) as processes:
        run = Run(processes, options.budget)
        run.check()
        for mutant in chosen:
            if mutant.key not in explained:
                run.judge(mutant)
        processes.join()
    if not options.module and not options.again:
        for key in explained.keys() - {mutant.key for mutant in everything}:
            print(f"explained, but not a mutant any more: {key}")
    last.write_text(json.dumps([mutant.key for mutant in run.survivors]), "utf-8")
    seconds = time.monotonic() - start
    lines = [*_table(chosen, run.survivors, explained, len(everything))]
    print(*lines, f"{seconds:.0f} s; {len(run.survivors)} survivors are not explained.", sep="\n")
    if options.write:
        figures.write("mutants", lines, f"seed {options.seed}", f"{seconds / 60:.0f} minutes")
    sys.exit(bool(run.survivors))


def _lot(seed: int, mutant: Mutant) -> bytes:
    return hashlib.sha256(repr((seed, mutant.key)).encode()).digest()


def _table(
    chosen: list[Mutant], alive: list[Mutant], explained: dict[tuple[str, str, str], str], number: int
) -> Iterator[str]:
    """Yield the figures by module, and the reasons of those that are explained."""
    harmless = [mutant for mutant in chosen if mutant.key in explained]
    counts = [Counter(each.module for each in group) for group in (chosen, harmless, alive)]
    yield f"{len(chosen)} of {number} mutants:"
    yield ""
    yield "| Module | Mutants | Killed | Explained | Survived |"
    yield "| --- | --- | --- | --- | --- |"
    for name in [*sorted(counts[0]), ""]:
        total, kept, survived = (each[name] if name else each.total() for each in counts)
        shown = f"`{name}`" if name else "all"
        yield f"| {shown} | {total} | {total - kept - survived} | {kept} | {survived} |"
    yield from ("", "| Explanation | Mutants |", "| --- | --- |")
    for reason, times in Counter(explained[each.key] for each in harmless).most_common():
        yield f"| {reason} | {times} |"


if __name__ == "__main__":
    main()
