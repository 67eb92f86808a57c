"""Checks the built pages: every link between them, and what `machine_readable` adds for programs."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HTML = Path(__file__).parent / "_build" / "html"
GENERATED = ("genindex", "py-modindex", "search")


class Page(HTMLParser):
    """The links, the anchors, and the description of a page."""

    def __init__(self, path: Path) -> None:
        """Read the page."""
        super().__init__()
        self.anchors: set[str | None] = {""}
        self.links: list[str] = []
        self.description = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an anchor, a link, or the description."""
        if tag == "meta" and ("name", "description") in attrs:
            self.description = dict(attrs).get("content") or ""
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value)
            elif (name == "href" and tag == "a") or name == "src":
                self.links.append(value or "")


def main() -> None:
    """Check all of them."""
    pages = {path: Page(path) for path in HTML.rglob("*.html")}
    broken: list[str] = []
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            checked += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else {""}
            if not target.is_file() or unquote(parts.fragment) not in anchors:
                broken.append(f"{path.relative_to(HTML)}: {link}")
    listed = re.findall(r"\]\(([^)]+)\.md\)", (HTML / "llms.txt").read_text("utf-8"))
    for path, page in pages.items():
        name = str(path.relative_to(HTML).with_suffix(""))
        if name not in GENERATED:
            if not page.description:
                broken.append(f"{name}: no description")
            if not path.with_suffix(".md").is_file():
                broken.append(f"{name}: no Markdown")
            if path.stem != "index" and not any(f"/{each}".endswith(f"/{name}") for each in listed):
                broken.append(f"{name}: not in llms.txt")
    print(f"{checked} links between {len(pages)} pages, {len(broken)} broken or missing")
    sys.exit("\n".join(broken) or (0 if checked else "nothing was checked"))


if __name__ == "__main__":
    main()
