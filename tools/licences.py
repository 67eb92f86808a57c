"""What the package brings with it, and under which licences: ``make licences`` writes it into the page.

Read from the metadata of what is installed, without versions, which change every week.
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

# What older metadata says, as SPDX says it.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}


def stated(of: Distribution, key: str) -> list[str]:
    """What the metadata says under this key."""
    return [str(each) for each in of.metadata.get_all(key, [])]


def licence(of: Distribution) -> str:
    """The licence as an SPDX expression, as far as the metadata let it be one."""
    says = (stated(of, "License-Expression") or stated(of, "License") or ["Dual License"])[0]
    if says != "Dual License":
        return SPDX.get(says, says)
    names = [each.rpartition(" :: ")[2] for each in stated(of, "Classifier") if each.startswith("License")]
    return " OR ".join(sorted(SPDX.get(name, name) for name in names)) or "not stated"


def brought(extra: str, path: list[str]) -> dict[str, str]:
    """Name and licence of everything that the package requires with this extra, as far as it is installed."""
    installed = {canonicalize_name(each.name): each for each in distributions(path=path)}
    found: dict[str, str] = {}
    ahead = [(PACKAGE, {extra})]
    while ahead:
        name, extras = ahead.pop()
        for line in installed[canonicalize_name(name)].requires or []:
            needs = Requirement(line)
            key = canonicalize_name(needs.name)
            wanted = not needs.marker or any(needs.marker.evaluate({"extra": each}) for each in extras | {""})
            if wanted and key in installed and key not in found:
                found[key] = licence(installed[key])
                ahead.append((key, needs.extras))
    return found


def rows(path: list[str]) -> dict[str, str]:
    """Each package's row of the table, for what is installed there."""
    table: dict[str, str] = {}
    for extra, what in COMES_WITH.items():
        for name, terms in sorted(brought(extra, path).items()):
            table.setdefault(name, f"| `{name}` | {terms} | {what} |")
    return table


def main(path: list[str]) -> None:
    """Write the table into the page."""
    table = "\n".join(["| package | license | comes with |", "| --- | --- | --- |", *rows(path).values()])
    page = PAGE.read_text("utf-8")
    PAGE.write_text(
        re.sub(r"(?<=<!-- licences -->\n).*(?=<!-- end -->)", f"{table}\n", page, flags=re.DOTALL)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
