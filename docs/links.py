"""Checks every link between the built pages: the page is there, and so is the anchor."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HTML = Path(__file__).parent / "_build" / "html"


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        """Read the page."""
        super().__init__()
        self.anchors: set[str | None] = {""}
        self.links: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an anchor or a link."""
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
    print(f"{checked} links between {len(pages)} pages, {len(broken)} broken")
    sys.exit("\n".join(broken) or (0 if checked else "nothing was checked"))


if __name__ == "__main__":
    main()
