"""Model and dataset cards: metadata, sections of cleaned text, topics, code blocks, tables and links.

Markdown is read down to its blocks only: the parser's inline rules take quadratic time on hostile text, and words, links and
cells need no more than `card_text`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from weighhouse.rules.card_text import Link, clean_lines, heading_text, words
from weighhouse.rules.front_matter import load_metadata, split_front_matter

MAX_BODY_CHARACTERS = 1 << 18
"""The Markdown that is read, after the front matter: the costliest text of this length takes about a second to parse."""
FILLED_WORDS = 15
FILLED_ROWS = 2


@dataclass(frozen=True)
class CodeBlock:
    """A block of code as it stands in the card; `language` is the first word after the fence in lower case, or `""`."""

    language: str
    text: str
    fenced: bool


@dataclass(frozen=True)
class Table:
    """A table of cleaned cells; every row is as long as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Section:
    """What stands between a heading and the next one of any level; the text before the first has level 0 and no heading."""

    heading: str = ""
    level: int = 0
    lines: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    code: list[CodeBlock] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @property
    def word_count(self) -> int:
        """Cleaned words of its text and tables, without headings and code."""
        return sum(len(words(line)) for line in self.lines)


@dataclass(frozen=True)
class Card:
    """A card, read. `note` says what could not be read of it."""

    metadata: Mapping[str, Any]
    sections: Sequence[Section]
    note: str | None = None

    @property
    def word_count(self) -> int:
        """Cleaned words of all sections, without headings and code."""
        return sum(section.word_count for section in self.sections)

    @property
    def opening_word_count(self) -> int:
        """Cleaned words before the second heading."""
        return sum(section.word_count for section in self.sections[:2])

    @property
    def lines(self) -> Iterator[str]:
        """Cleaned lines of text and tables, in order, a cell a line."""
        return (line for section in self.sections for line in section.lines)

    @property
    def code_blocks(self) -> Sequence[CodeBlock]:
        """Blocks of code, fenced and indented, in order."""
        return [block for section in self.sections for block in section.code]

    @property
    def tables(self) -> Sequence[Table]:
        """Tables, in order."""
        return [table for section in self.sections for table in section.tables]

    @property
    def links(self) -> Sequence[Link]:
        """Links, in order, without those of images and of the template."""
        return [link for section in self.sections for link in section.links]


@lru_cache(maxsize=128)  # several metrics read the same card, and reading is pure
def read_card(text: str) -> Card:
    """The card that `text` (YAML front matter and Markdown) holds. Any text is a card.

    >>> card = read_card("---\\nlicense: mit\\n---\\n# Tiny\\nIt *names* [birds](https://example.org).")
    >>> card.metadata["license"], card.sections[1].lines, card.links[0].target
    ('mit', ['It *names* birds.'], 'https://example.org')
    """
    yaml_text, body = split_front_matter(text)
    metadata, note = load_metadata(yaml_text)
    if len(body) > MAX_BODY_CHARACTERS:
        body = body[:MAX_BODY_CHARACTERS]
        note = note or f"only the first {MAX_BODY_CHARACTERS:,} characters of the card were read"
    return Card(metadata, tuple(_sections(body)), note)


def filled_topics(card: Card, topics: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The topics that a heading names and a body fills: 15 cleaned words, a table of two rows, or a block of code.

    A body reaches to the next heading of its level, or to one that names a topic itself. It counts for one topic only,
    and so do bodies that say the same.

    Args:
        topics: Beginnings of words that a heading must hold, by topic, in lower case.
    """
    candidates: dict[str, list[str]] = {name: [] for name in topics}
    for body in _bodies(card, topics):
        digest = body.digest() if body.is_filled() else None
        for name in body.topics if digest else ():
            candidates[name].append(digest or "")
    return frozenset(_assign(candidates))


@dataclass
class _Body:
    level: int
    topics: Sequence[str]
    parts: list[Section]

    def is_filled(self) -> bool:
        return (
            any(len(table.rows) >= FILLED_ROWS for part in self.parts for table in part.tables)
            or any(block.text.strip() for part in self.parts for block in part.code)
            or sum(part.word_count for part in self.parts) >= FILLED_WORDS
        )

    def digest(self) -> str:
        said = [word for part in self.parts for line in part.lines for word in words(line)]
        code = [word for part in self.parts for block in part.code for word in block.text.split()]
        return blake2b("\0".join([*said, "", *code]).encode(errors="replace")).hexdigest()


def _bodies(card: Card, topics: Mapping[str, Sequence[str]]) -> list[_Body]:
    patterns = {name: re.compile(r"\b(?:" + "|".join(map(re.escape, begins)) + ")") for name, begins in topics.items()}
    bodies: list[_Body] = []
    enclosing: list[_Body] = []
    for section in card.sections:
        heading = section.heading.lower()
        named = [name for name, pattern in patterns.items() if pattern.search(heading)]
        while enclosing and enclosing[-1].level >= section.level:
            enclosing.pop()
        if named:
            enclosing.append(_Body(section.level, named, [section]))
            bodies.append(enclosing[-1])
        elif enclosing:
            enclosing[-1].parts.append(section)
    return bodies


def _assign(candidates: Mapping[str, Sequence[str]]) -> set[str]:
    """The topics of a largest matching of topics to bodies, so that the order of headings decides nothing."""
    topic_of: dict[str, str] = {}

    def place(topic: str, tried: set[str]) -> bool:
        for digest in candidates[topic]:
            if digest in tried:
                continue
            tried.add(digest)
            if digest not in topic_of or place(topic_of[digest], tried):
                topic_of[digest] = topic
                return True
        return False

    return {topic for topic in candidates if place(topic, set())}


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    # Reference definitions stay text: `card_text` takes their targets out line by line.
    return parser.disable("reference")


def _sections(body: str) -> list[Section]:
    tokens = _parser().parse(body)
    sections = [Section()]
    position = 0
    while position < len(tokens):
        token = tokens[position]
        here = sections[-1]
        if token.type == "heading_open" and token.level == 0:
            sections.append(Section(heading_text(tokens[position + 1].content), int(token.tag[1])))
            position += 1
        elif token.type == "table_open":
            position = _read_table(tokens, position, here)
        elif token.type in ("fence", "code_block"):
            here.code.append(_code_block(token))
        elif token.type in ("inline", "html_block") and not token.content.lstrip().startswith(("<style", "<script")):
            lines, links = clean_lines(token.content)
            here.lines += lines
            here.links += links
        position += 1
    return sections


def _code_block(token: Token) -> CodeBlock:
    info = token.info.split()
    language = info[0].strip("{}.").split(",")[0].lower() if info else ""
    return CodeBlock(language, token.content, token.type == "fence")


def _read_table(tokens: Sequence[Token], start: int, section: Section) -> int:
    """Adds the table that opens at `start` to `section`, and answers where it closes."""
    rows: list[list[str]] = []
    position = start
    while tokens[position].type != "table_close":
        if tokens[position].type == "tr_open":
            rows.append([])
        elif tokens[position].type == "inline":
            lines, links = clean_lines(tokens[position].content)
            rows[-1].append(" ".join(lines))
            section.lines += lines
            section.links += links
        position += 1
    section.tables.append(Table(rows[0], rows[1:]))
    return position
