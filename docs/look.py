"""Looks at every built page with a browser: as on a telephone and on a desk, in light and in dark.

``make docs-look`` writes pictures to ``docs/_build/look`` and fails where a page is wider than its window,
or where a table is cut off and has to be scrolled.
Needs Chromium: Debian's package ``chromium``, or ``CHROMIUM=/path``.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

BUILD = Path(__file__).parent / "_build"
WIDTHS = {"phone": 390, "desk": 1280}

# Tables that have too many columns for a telephone, by their page and the words of their first heading.
SCROLLED: Final = {("reference-verification", "Python")}
CUT = """[...document.querySelectorAll(".table-wrapper")]
    .filter(each => each.scrollWidth > each.clientWidth + 2)
    .map(each => [each.querySelector("th")?.innerText ?? "", each.scrollWidth - each.clientWidth])"""


def main() -> None:
    """Look at all of them."""
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    pages = [page for page in sorted((BUILD / "html").rglob("*.html")) if "_static" not in page.parts]
    wide: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for device, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                for page in pages:
                    tab.goto(page.as_uri())
                    needs = tab.evaluate("document.scrollingElement.scrollWidth")
                    name = str(page.relative_to(BUILD / "html").with_suffix("")).replace(os.sep, "-")
                    tab.screenshot(path=BUILD / "look" / f"{name}-{device}-{scheme}.png", full_page=True)
                    if needs > width:
                        wide.append(f"{name} at {width} px is {needs} px wide")
                    for heading, cut in tab.evaluate(CUT):
                        if device != "phone" or (name, heading) not in SCROLLED:
                            wide.append(f"{name} at {width} px: {cut} px of the table {heading!r} are cut")
        browser.close()
    print(f"{len(pages)} pages, {len(pages) * 4} pictures in {BUILD / 'look'}")
    sys.exit("\n".join(sorted(set(wide))) or 0 if wide or pages else "no pages: run `make docs` first")


if __name__ == "__main__":
    main()
