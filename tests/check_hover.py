"""Checks what an editor shows of this library; part of `make types`.

Usage: ENVIRONMENT/bin/python tests/check_hover.py PYRIGHT-LANGSERVER

It sends requests to pyright's language server, which many editors use, for an application that has the wheel
of this environment. The hover of every public name has to show its docstring, and the completion of a call
its keyword arguments.
"""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final, Self, is_typeddict

import cloudhsm_restore
from cloudhsm_restore import Backup

MODULES: Final = ("cloudhsm_restore", "cloudhsm_restore.aio", "cloudhsm_restore.testing")

PRIVATE: Final = re.compile(r"\(variable\) \w+: [^ ]*\b(_[A-Za-z]|Strict|Annotated)")
"""A field whose type is shown as a private alias, or as an annotation for pydantic."""


class LanguageServer:
    """Pyright's language server on a folder: JSON-RPC over its standard input and output."""

    def __init__(self, program: str, folder: Path) -> None:
        self._ids = count(1)
        # First in PATH, because pyright follows the links of another Python to the system's.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._process = subprocess.Popen(
            [program, "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PATH": path},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to: IO[bytes] = self._process.stdin
        self._from: IO[bytes] = self._process.stdout
        self._request(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": folder.as_uri(),
                "workspaceFolders": [{"uri": folder.as_uri(), "name": "application"}],
                "capabilities": {
                    "workspace": {"configuration": True, "workspaceFolders": True},
                    "textDocument": {
                        "hover": {"contentFormat": ["plaintext"]},
                        "signatureHelp": {"signatureInformation": {"documentationFormat": ["plaintext"]}},
                    },
                },
            },
        )
        self._notify("initialized", {})

    def open(self, file: Path) -> None:
        """Notify the server that a file is open."""
        text = file.read_text(encoding="utf-8")
        document = {"uri": file.as_uri(), "languageId": "python", "version": 1, "text": text}
        self._notify("textDocument/didOpen", {"textDocument": document})

    def at(self, method: str, file: Path, line: int, character: int) -> Any:
        """Return the server's response for a position, counted from 0."""
        position = {"line": line, "character": character}
        return self._request(
            f"textDocument/{method}", {"textDocument": {"uri": file.as_uri()}, "position": position}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _request(self, method: str, params: Mapping[str, Any]) -> Any:
        request_id = next(self._ids)
        self._send({"id": request_id, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == request_id and "method" not in message:
                assert "error" not in message, message
                return message["result"]
            if "id" in message:  # The server requests its settings.
                self._send({"id": message["id"], "result": self._respond(message)})

    def _respond(self, message: Mapping[str, Any]) -> Any:
        if message["method"] == "workspace/configuration":
            settings = {"python": {"pythonPath": sys.executable}}
            return [settings.get(item.get("section")) for item in message["params"]["items"]]
        return None

    def _notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0"} | dict(message)).encode()
        self._to.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._to.flush()

    def _receive(self) -> dict[str, Any]:
        length = 0
        while line := self._from.readline().strip():
            name, _, value = line.partition(b": ")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._from.read(length))
        return message


def classes() -> dict[str, ast.ClassDef]:
    """Return the syntax tree of every class: only the source has the docstrings of fields and members."""
    files = Path(cloudhsm_restore.__file__).parent.rglob("*.py")
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def docstrings(kind: type[object], statement: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the public members that a class defines, with their docstrings, empty if there is none."""
    for member, after in pairwise([*statement.body, ast.Pass()]):
        match member:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                text = inspect.getdoc(getattr(kind, name)) or ""
            case ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]):
                match after:
                    case ast.Expr(ast.Constant(str(text))):
                        text = inspect.cleandoc(text)
                    case _:
                        text = ""
            case _:
                continue
        if not name.startswith("_"):
            yield name, text


def public() -> Iterator[tuple[str, str, str]]:
    """Yield the module, the dotted path, and the docstring of every public name."""
    trees = classes()
    for module_name in MODULES:
        module = import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, str):  # The version has no docstring.
                continue
            yield module_name, name, inspect.getdoc(value) or ""
            if isinstance(value, type) and not is_typeddict(value):  # Keys are not attributes.
                members: dict[str, str] = {}
                for base in reversed(value.__mro__):
                    if base.__module__.partition(".")[0] == "cloudhsm_restore":
                        # A subclass that only assigns another value keeps the docstring of the declaration.
                        members |= {
                            member: text
                            for member, text in docstrings(base, trees[base.__name__])
                            if text or member not in members
                        }
                for member, text in members.items():
                    yield module_name, f"{name}.{member}", text


CALLS: Final = {
    "Backup(": ("cloudhsm_restore", {f"{name}=" for name in Backup.model_fields}),
    "Tag(": ("cloudhsm_restore", {"key=", "value="}),
    "RestoreClient(": ("cloudhsm_restore", {"session=", "region_name=", "endpoint_url=", "config="}),
    "RestoreResult(": ("cloudhsm_restore", {"backup_id=", "backup=", "error="}),
    "RestoreClient().ensure_restored(": ("cloudhsm_restore", {"never_expires=", "timeout="}),
    "RestoreClient().restore_backups(": ("cloudhsm_restore", {"never_expires=", "max_workers=", "timeout="}),
    "RestoreClient().describe_backups(": (
        "cloudhsm_restore",
        {"states=", "cluster_ids=", "backup_ids=", "source_backup_ids=", "never_expires="},
    ),
    "backup_response(": ("cloudhsm_restore.testing", {f"{name}=" for name in Backup.model_fields}),
}
"""Incomplete calls, and the completions that the editor has to offer."""


def hovers(server: LanguageServer, folder: Path) -> tuple[int, list[str]]:
    """Return the number of names, and a line for each hover without its docstring."""
    lines: list[str] = []
    positions: list[tuple[str, str, int, int]] = []
    for module, path, text in public():
        name, _, member = path.partition(".")
        lines.append(f"from {module} import {name}")
        if member:
            lines += [f"def _(it: {name}) -> None:", f"    it.{member}"]
        else:
            lines.append(name)
        positions.append((f"{module}.{path}", text, len(lines) - 1, len("    it.") if member else 0))
    file = folder / "hovers.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    server.open(file)
    missing: list[str] = []
    for name, text, line, character in positions:
        hover = server.at("hover", file, line, character)
        shown = " ".join(hover["contents"]["value"].split()) if hover else ""
        if not text or " ".join(text.split()) not in shown:
            missing.append(f"{name}: the hover does not show {text[:60]!r} but {shown[:200]!r}")
        elif PRIVATE.match(shown):
            missing.append(f"{name}: the hover shows a private type: {shown[:60]!r}")
    return len(positions), missing


def calls(server: LanguageServer, folder: Path) -> list[str]:
    """Return a line for each call without its completions or its documentation."""
    missing: list[str] = []
    for number, (call, (module, expected)) in enumerate(CALLS.items()):
        file = folder / f"call{number}.py"
        file.write_text(f"from {module} import {call.partition('(')[0]}\n{call}", encoding="utf-8")
        server.open(file)
        offered = server.at("completion", file, 1, len(call))["items"]
        unknown = expected - {item["label"] for item in offered}
        if unknown:
            missing.append(f"{call}: the editor does not offer {', '.join(sorted(unknown))}")
        signatures: list[dict[str, Any]] = server.at("signatureHelp", file, 1, len(call))["signatures"]
        if not signatures or not all(signature["documentation"]["value"] for signature in signatures):
            missing.append(f"{call}: the editor shows no documentation")
    return missing


def main(program: str) -> int:
    """Print what is missing, and return the number of lines."""
    with TemporaryDirectory() as name, LanguageServer(program, Path(name)) as server:
        names, missing = hovers(server, Path(name))
        missing += calls(server, Path(name))
    assert names > 200, "the public names were not found"
    print(
        *missing,
        f"{names} public names and {len(CALLS)} calls, {len(missing)} faults",
        sep="\n",
    )
    return len(missing)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1]) and 1)
