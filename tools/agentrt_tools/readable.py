"""Turns a page of HTML into text with headings, lists and links, in time linear in its size."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin

_NAME = re.compile(r"/?[a-zA-Z][a-zA-Z0-9-]{0,30}")
_LINK = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f\u00a0]+")
_HIDDEN = frozenset(
    {"script", "style", "noscript", "template", "svg", "math", "iframe", "object", "textarea", "select"}
)
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "fieldset", "figcaption",
        "figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul",
    }
)  # fmt: skip
_OPENING = {**{f"h{n}": f"\n\n{'#' * n} " for n in range(1, 7)}, "li": "\n- ", "tr": "\n", "br": "\n"}
_CLOSING = {**{f"h{n}": "\n\n" for n in range(1, 7)}, "td": " | ", "th": " | "}
MAX_TAG_CHARS = 2_000
MAX_EXTENSIONS = 3
MAX_TITLE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Page:
    """A page's title and its text."""

    title: str
    text: str


def readable(source: str, base: str, limit: int) -> Page:
    """The words of an HTML page; links are written ``[words](address)`` with addresses made absolute by ``base``.

    Reading stops at about ``limit`` characters of text. This is no browser: no styles, no scripts, no forms.
    (Python's ``html.parser`` takes minutes for some pages of 50 KB, so it can't be given foreign ones.)
    """
    writer = _Writer(base, limit)
    for tag, text in _pieces(source):
        if tag:
            writer.tag(tag, text)
        else:
            writer.words(text)
        if writer.size > limit and not writer.in_link:
            break
    title = _SPACE.sub(" ", html.unescape("".join(writer.title)[:MAX_TITLE_CHARS])).strip()
    return Page(title, writer.text())


def _pieces(source: str) -> Iterator[tuple[str, str]]:
    """Pairs: a lower-case tag name (with a slash if it closes) and its whole text, or ``""`` and words."""
    at, size = 0, len(source)
    while at < size:
        start = source.find("<", at)
        if start < 0:
            yield "", source[at:]
            return
        if start > at:
            yield "", source[at:start]
        at = start
        name = _NAME.match(source, start + 1)
        if name:
            at = _end_of_tag(source, start)
            tag = name.group().lower()
            yield tag, source[start:at]
            if tag in _HIDDEN:
                at = _after_hidden(source, tag, at)
        elif source.startswith("<!--", start):
            at = _after(source, "-->", start + 4)
        elif source.startswith(("<!", "<?", "</"), start):
            at = _after(source, ">", start + 2)
        else:
            yield "", "<"
            at = start + 1


def _after(source: str, mark: str, at: int) -> int:
    found = source.find(mark, at)
    return len(source) if found < 0 else found + len(mark)


def _end_of_tag(source: str, start: int) -> int:
    """Where a tag ends: at the first ``>``, or at one soon after it if the first is in a quoted attribute."""
    first = end = _after(source, ">", start)
    quotes = source.count('"', start, end) if source.find('="', start, end) > 0 else 0
    for _ in range(MAX_EXTENSIONS):
        if quotes % 2 == 0 or end - start > MAX_TAG_CHARS:
            break
        begin, end = end, _after(source, ">", end)
        quotes += source.count('"', begin, min(end, begin + MAX_TAG_CHARS))
    return end if quotes % 2 == 0 else first


def _after_hidden(source: str, tag: str, at: int) -> int:
    """Behind the end of an element whose content nobody reads; at the end of the page if it is never closed."""
    closing = re.compile(rf"</{tag}\b", re.IGNORECASE).search(source, at)
    return _after(source, ">", closing.end()) if closing else len(source)


@dataclass(slots=True)
class _Writer:
    """What was written so far; white space is folded as a browser folds it, except in ``pre``.

    ``size`` counts the characters that are no white space.
    """

    base: str
    limit: int
    size: int = 0
    title: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _links: list[tuple[str, int]] = field(default_factory=list)
    _pre: int = 0
    _in_title: bool = False

    @property
    def in_link(self) -> bool:
        """Whether a link is open: it is written when it closes, so one must not stop here."""
        return bool(self._links)

    def words(self, text: str) -> None:
        """Words between two tags."""
        if self._in_title:
            self.title.append(text[:MAX_TITLE_CHARS])
            return
        text = html.unescape(text)
        if not self._pre:
            text = _SPACE.sub(" ", text)
            text = text.lstrip(" ") if not self._parts or self._parts[-1].endswith("\n") else text
        self._put(text)

    def tag(self, tag: str, text: str) -> None:
        """A tag: the white space that it means, a mark for headings and list items, a link."""
        name = tag.lstrip("/")
        closes = tag.startswith("/")
        self._in_title = tag == "title" and not self.title
        if name == "title":
            return
        if name == "a":
            self._link(None if closes else _LINK.search(text, 0, MAX_TAG_CHARS))
        elif name == "pre":
            self._pre = max(0, self._pre + (-1 if closes else 1))
        if name in _BLOCKS:
            self._put("\n\n" if name in ("p", "pre", "table", "blockquote", "ul", "ol") else "\n")
        else:
            self._put((_CLOSING if closes else _OPENING).get(name, ""))

    def _link(self, found: re.Match[str] | None) -> None:
        if found:
            address = html.unescape(next((group for group in found.groups() if group), ""))
            self._links.append((address, len(self._parts)))
            return
        if not self._links:
            return
        address, start = self._links.pop()
        self._links.clear()  # links do not nest
        words = "".join(self._parts[start:]).strip()
        if words and address and not address.lower().startswith(("#", "javascript:", "data:", "mailto:")):
            self._parts[start:] = [f"[{words}]({_absolute(self.base, address)})"]
            self.size += len(address)

    def _put(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self.size += sum(map(len, text.split()))

    def text(self) -> str:
        """The text, with no more than one empty line in a row and no space at the ends of lines."""
        lines = "\n".join(line.rstrip(" \t") for line in "".join(self._parts).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", lines).strip()


def _absolute(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:
        return address
