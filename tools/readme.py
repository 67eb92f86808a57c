"""A hatchling hook: the README as it is shown on PyPI, with links and pictures that lead to the repository.

Its links are relative, so that they work in a clone. PyPI does not have the files. With ``Source`` in
``[project.urls]`` they become absolute, to the files of this version. Without it, a link becomes its text,
and a picture is left out.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"\[((?:[^\[\]]|`[^`]*`)+)\]\((?!https?:|#)([^)\s]+)\)")
PICTURE = re.compile(r'<img src="(?!https?:)([^"]+)"([^>]*)>\n?')


def absolute(readme: str, repository: str, version: str) -> str:
    """Return the README with links into the repository, at the tag of the version."""
    if not repository:
        return LINK.sub(r"\1", PICTURE.sub("", readme))
    base = repository.rstrip("/")
    readme = LINK.sub(rf"[\1]({base}/blob/v{version}/\2)", readme)
    return PICTURE.sub(rf'<img src="{base}/raw/v{version}/\1"\2>\n', readme)


class ReadmeHook(MetadataHookInterface):
    """Set the field ``readme`` of the metadata. hatchling finds this class by its base class."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set it."""
        readme = (Path(self.root) / "README.md").read_text("utf-8")
        text = absolute(readme, metadata.get("urls", {}).get("Source", ""), metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
