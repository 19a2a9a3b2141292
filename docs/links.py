"""Check a site of HTML files: every local link leads to a file and an anchor, and nothing is loaded from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("source", "src")}


class _Page(HTMLParser):
    """The ids of a page and its links, each with whether the browser loads it with the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (name, tag) == ("name", "a")):
                self.ids.add(value)
            elif value and name in ("href", "src"):
                self.links.append((value, (tag, name) in LOADED))


def broken_links(site: Path) -> list[str]:
    """A line for each link that leads nowhere, and for each address of another host that a page loads."""
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        where = path.relative_to(site.resolve()).as_posix()
        for link, loaded in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                if loaded:
                    broken.append(f"{where} loads {link} from another host")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{where} links to {link}, and there is no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{where} links to {link}, and there is no such anchor")
    return broken
