"""The README as PyPI shows it: the metadata of a wheel that is built here."""

import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Final

import pytest

from cloudhsm_restore import __version__

ROOT: Final = Path(__file__).parent.parent
PARTS: Final = (
    "cloudhsm_restore",
    "tools/readme.py",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
)


def built(folder: Path, urls: str) -> str:
    """Return the description in the metadata of a wheel, from sources with these ``[project.urls]``."""
    for part in PARTS:
        target = folder / "source" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / part, target)
    settings = folder / "source/pyproject.toml"
    kept = re.sub(r"^\[project\.urls\]\n(?:.+\n)*", "", settings.read_text("utf-8"), flags=re.MULTILINE)
    settings.write_text(f"{kept}\n[project.urls]\n{urls}\n", "utf-8")
    # Through the sdist, as a release is built.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        [metadata] = [name for name in files.namelist() if name.endswith("/METADATA")]
        message = message_from_bytes(files.read(metadata))
    assert message["Description-Content-Type"] == "text/markdown"
    return bytes(message.get_payload(decode=True)).decode()


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures, of those in code blocks as well."""
    return [found[1] or found[2] for found in re.finditer(r'\]\(([^)\s]+)\)|src="([^"]+)"', text)]


def test_links_and_the_picture_lead_to_the_files_of_this_version(tmp_path: Path) -> None:
    """Each relative link of the README is absolute in the wheel, and its file is in the repository."""
    source = "https://example.org/someone/cloudhsm-restore"
    readme = (ROOT / "README.md").read_text("utf-8")
    description = built(tmp_path, f'Source = "{source}/"')
    relative = [link for link in links(readme) if not link.startswith("https:")]
    assert len(relative) > 10
    assert "docs/demo.svg" in relative
    for link in relative:
        assert (ROOT / link.partition("#")[0]).is_file()
    kinds = {link: "raw" if link.endswith(".svg") else "blob" for link in relative}
    expected = [
        f"{source}/{kinds[link]}/v{__version__}/{link}" if link in kinds else link for link in links(readme)
    ]
    assert links(description) == expected


def test_without_a_repository_no_link_leads_nowhere(tmp_path: Path) -> None:
    """Before the project has a URL, the wheel's README has the text of its links only."""
    description = built(tmp_path, "")
    assert [link for link in links(description) if not link.startswith("https:")] == []
    assert "gets both cases\nright:" in description
    assert "\n```python\n" in description


@pytest.mark.parametrize("part", PARTS)
def test_the_sdist_has_every_part_that_a_build_needs(part: str) -> None:
    """The sdist is built from a list, so that nothing else gets into it."""
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    [only] = re.findall(r"^only-include = \[(.*)\]$", settings, re.MULTILINE)
    assert f'"{part}"' in only
