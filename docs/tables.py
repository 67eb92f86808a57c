"""The tables in the documentation that come from the code itself."""

import tomllib
from pathlib import Path
from typing import Any, Final

from cloudhsm_restore import ApiError, Backup, RestoreError
from cloudhsm_restore import exceptions as exceptions_module

ROOT: Final = Path(__file__).parent.parent

# Whether a RestoreBackup call whose only attempt ended like this has a known outcome. A class that is not
# here is like its base class. `tests/test_docs.py` compares this with what the client raises.
OUTCOME_KNOWN: Final = {
    "RestoreError": "see below",
    "ConfigurationError": "yes",
    "ParameterError": "yes",
    "TransportError": "no",
    "ConnectError": "yes",
    "UnexpectedResponseError": "no",
    "NotRestorableError": "yes",
    "WaitTimeoutError": "see `outcome_unknown`",
    "ApiError": "yes, unless HTTP 3xx or 5xx",
    "AccessDeniedError": "yes",
    "AuthenticationError": "yes",
    "InternalFailureError": "no",
    "InvalidRequestError": "yes",
    "ResourceNotFoundError": "yes",
    "TagError": "yes",
    "ThrottlingError": "yes, unless HTTP 5xx",
}


def _link(exception: type) -> str:
    return f"{{py:class}}`~cloudhsm_restore.{exception.__name__}`"


def _public(of: type) -> list[type]:
    return [each for each in of.__subclasses__() if each.__name__ in exceptions_module.__all__]


def _table(*rows: tuple[str, ...]) -> str:
    """Return a Markdown table, the first row of which is its head."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *body])


def hierarchy() -> str:
    """Return the exception hierarchy as a tree."""
    return "\n".join(["```text", RestoreError.__name__, *_branches(RestoreError, ""), "```"])


def _branches(of: type, indent: str) -> list[str]:
    lines: list[str] = []
    subclasses = _public(of)
    for each in subclasses:
        last = each is subclasses[-1]
        lines.append(f"{indent}{'└── ' if last else '├── '}{each.__name__}")
        lines += _branches(each, indent + ("    " if last else "│   "))
    return lines


def exceptions() -> str:
    """Return a table of the exceptions: meaning, retry, and outcome."""
    return _table(("Exception", "Meaning", "Retry?", "Outcome known?"), *_exceptions(RestoreError, ""))


def _exceptions(of: type[RestoreError], known: str) -> list[tuple[str, ...]]:
    known = OUTCOME_KNOWN.get(of.__name__, known)
    others = [base.__name__ for base in of.__bases__ if not issubclass(base, RestoreError)]
    also = f" Also a `{others[0]}`." if others and others != ["Exception"] else ""
    summary = " ".join((of.__doc__ or "").partition("\n\n")[0].replace("``", "`").split())
    retry = "yes" if of.retryable else "no"
    if of is RestoreError:
        summary, retry = "The base class of all of them.", "see below"
    row = (_link(of), summary + also, retry, known)
    return [row, *(each for sub in _public(of) for each in _exceptions(sub, known))]


def codes() -> str:
    """Return every AWS error code with its class."""
    rows = [(_link(each), ", ".join(f"`{code}`" for code in each.codes)) for each in _public(ApiError)]
    return _table(("Class", "Codes"), *rows)


def fields() -> str:
    """Return the fields of `Backup`, each with its type and AWS's name."""
    rows = [
        (f"`{name}`", f"`{field.alias}`", "yes" if field.is_required() else "no")
        for name, field in Backup.model_fields.items()
    ]
    return _table(("Field", "AWS's name", "Required"), *rows)


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def url(name: str) -> str:
    """Return one of the project's URLs from pyproject.toml, with a slash at its end, or nothing."""
    found = _project().get("urls", {}).get(name, "")
    return f"{found.rstrip('/')}/" if found else ""


def requirements() -> str:
    """Return the requirements of pyproject.toml: Python, and the libraries."""
    project = _project()
    extras = project["optional-dependencies"]
    public = [name for name in extras if name not in ("test", "dev", "docs")]
    rows = [("Python", f"`{project['requires-python']}`")]
    for part, needs in [
        ("the package", project["dependencies"]),
        *((f"extra `{name}`", extras[name]) for name in public),
    ]:
        rows.append((part, ", ".join(f"`{each}`" for each in needs)))
    return _table(("Part", "Requires"), *rows)
