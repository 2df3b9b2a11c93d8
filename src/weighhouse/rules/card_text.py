"""The words that people wrote into a card: markup, placeholders and the template's own lines removed.

Metrics specification, section 1, "Text cleaning". Every expression here takes linear time: a repeated class never holds the
character that starts the next attempt.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b

from weighhouse.rules.card_template import TEMPLATE_LINES

# Scripts written without spaces: two characters are about one word.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_LETTERS = rf"(?:(?![{_UNSPACED}])[^\W_])+"
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|{_LETTERS}(?:['’.\-]{_LETTERS})*")
_IMAGE = re.compile(r"!\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])")
_LINK = re.compile(r"\[([^\[\]]*)\](?:\(([^()]*)\)|\[[^\[\]]*\])")
_AUTOLINK = re.compile(r"<(https?://[^<>\s]*)>")
_REFERENCE = re.compile(r"^ {0,3}\[[^\[\]]+\]:\s+<?(\S+)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_HREF = re.compile(r"""href\s?=\s?["']([^"'<>\s]*)["']""", re.IGNORECASE)
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>()\[\]\"'`]+")
_PLACEHOLDER = re.compile(r"\[? ?\b(?i:more information needed)\b ?\]?|\{\{[^{}]*\}\}|\bModel ID\b")


@dataclass(frozen=True)
class Link:
    """A link of the card: the text it stands under (empty for a bare URL) and where it points."""

    text: str
    target: str


def words(text: str) -> list[str]:
    """The words of cleaned text, in lower case.

    >>> words("It's a 384-dimensional **space**.")
    ["it's", 'a', '384-dimensional', 'space']
    """
    return _WORD.findall(text.lower())


def line_digest(line: str) -> str:
    """The digest under which a line, links removed, is known as part of a template; `""` for a line without words."""
    said = words(line)
    return blake2b(" ".join(said).encode(errors="replace"), digest_size=8).hexdigest() if said else ""


def drop_comments(text: str) -> str:
    """`text` without HTML comments; one that is never closed hides the rest, as in a browser."""
    kept: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        kept.append(text[position:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(kept)
        position = end + 3
    return "".join([*kept, text[position:]])


def clean_lines(text: str) -> tuple[list[str], list[Link]]:
    """The lines of Markdown or HTML `text` that hold words of the author, and the links in them."""
    lines: list[str] = []
    links: list[Link] = []
    for raw in drop_comments(text).splitlines():
        # The template is compared before placeholders go: its advice is long enough to look like content.
        without_links = _without_links(raw)
        if line_digest(without_links) in TEMPLATE_LINES:
            continue
        links += _links(raw)
        line = " ".join(_PLACEHOLDER.sub(" ", without_links).split())
        if words(line):
            lines.append(line)
    return lines, links


def heading_text(text: str) -> str:
    """What a heading says, without markup; a template's heading is kept, for it names the topic."""
    return " ".join(_without_links(drop_comments(text)).split())


def _without_links(line: str) -> str:
    line = _REFERENCE.sub("", _IMAGE.sub("", line))
    line = _TAG.sub("", _AUTOLINK.sub("", _LINK.sub(r"\1", line)))
    return _URL.sub("", line)


def _links(line: str) -> list[Link]:
    line = _IMAGE.sub("", line)
    links = [Link(found[1].strip(), found[2].split(" ")[0]) for found in _LINK.finditer(line) if found[2]]
    rest = _LINK.sub("", line)
    # An HTML link or a reference is known by the line it stands in.
    text = " ".join(_TAG.sub("", rest).split())[:200]
    for pattern in (_HREF, _REFERENCE):
        links += [Link(text, target) for target in pattern.findall(rest)]
        rest = pattern.sub("", rest)
    return links + [Link("", target) for target in _URL.findall(rest)]
