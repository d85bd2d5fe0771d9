"""A page as a strict reader sees it: what is open is closed, and nothing is loaded or run."""

from __future__ import annotations

from html.parser import HTMLParser

_EMPTY = {"meta", "br", "hr", "img", "link", "input"}
_LOADING = {"script", "iframe", "object", "embed", "link", "img", "image", "use", "a", "base"}


class Page(HTMLParser):
    """Parses a page and fails where it is not well formed or not self-contained.

    Attributes:
      text: all that is to be read in it, spaces made one.
      tags: its elements with their attributes, in order.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.style = ""
        assert html.startswith("<!DOCTYPE html>")
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self._texts).split()).replace(" : ", ": ")
        assert "url(" not in self.style
        assert "@import" not in self.style

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in _LOADING, tag
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        elif "body" in self._open:
            self._texts.append(data)
