"""``make licenses`` writes the dependencies and their licenses into docs/reference/dependencies.md.

They come from the metadata of the installed packages, without versions, which change every week.
"""

import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "dependencies.md"
PACKAGE = "cloudhsm-restore"
COMES_WITH = {"": "the package", "cli": "extra `cli`"}

# Older metadata has the names of classifiers instead of SPDX identifiers.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}


def values(package: Distribution, key: str) -> list[str]:
    """Return the values of a key of the metadata."""
    return [str(value) for value in package.metadata.get_all(key, [])]


def license_of(package: Distribution) -> str:
    """Return the license as an SPDX expression, as far as the metadata has one."""
    name = (values(package, "License-Expression") or values(package, "License") or ["Dual License"])[0]
    if name != "Dual License":
        return SPDX.get(name, name)
    classifiers = [value for value in values(package, "Classifier") if value.startswith("License")]
    names = [classifier.rpartition(" :: ")[2] for classifier in classifiers]
    return " OR ".join(sorted(SPDX.get(name, name) for name in names)) or "not stated"


def dependencies(extra: str, path: list[str]) -> dict[str, str]:
    """Return name and license of each installed package that an extra requires, directly or not."""
    installed = {canonicalize_name(package.name): package for package in distributions(path=path)}
    found: dict[str, str] = {}
    pending = [(PACKAGE, {extra})]
    while pending:
        name, extras = pending.pop()
        for line in installed[canonicalize_name(name)].requires or []:
            requirement = Requirement(line)
            key, marker = canonicalize_name(requirement.name), requirement.marker
            applies = not marker or any(marker.evaluate({"extra": name}) for name in extras | {""})
            if applies and key in installed and key not in found:
                found[key] = license_of(installed[key])
                pending.append((key, requirement.extras))
    return found


def rows(path: list[str]) -> dict[str, str]:
    """Return the row of the table for each package that is installed in the path."""
    table: dict[str, str] = {}
    for extra, label in COMES_WITH.items():
        for name, terms in sorted(dependencies(extra, path).items()):
            table.setdefault(name, f"| `{name}` | {terms} | {label} |")
    return table


def main(path: list[str]) -> None:
    """Write the table into the page."""
    table = "\n".join(["| package | license | comes with |", "| --- | --- | --- |", *rows(path).values()])
    page = PAGE.read_text("utf-8")
    PAGE.write_text(
        re.sub(r"(?<=<!-- licenses -->\n).*(?=<!-- end -->)", f"{table}\n", page, flags=re.DOTALL)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
