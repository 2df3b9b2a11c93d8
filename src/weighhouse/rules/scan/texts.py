"""Text files: safe by themselves, but for what a loader makes of templates, of YAML and of XML."""

import codecs
import re

from weighhouse.rules.scan.native import script_kind
from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import View
from weighhouse.rules.scan.templates import scan_template
from weighhouse.rules.scan.verdict import Level, shown

_SAMPLE_BYTES = 64 << 10
_YAML_BYTES = 4 << 20
_YAML_OBJECT = re.compile(rb"!!python/|tag:yaml\.org,2002:python/|^%TAG\s.*python", re.MULTILINE)
_XML_DTD = re.compile(rb"<!ENTITY|<!DOCTYPE[^>\[]*\[", re.IGNORECASE)
_RUNS_CODE = re.compile(
    rb"^\s*(?:-\s*)?(_target_|trust_remote_code)\s*:\s*(?!false|null|['\"]?\s*$)(\S.*)$", re.MULTILINE
)
# Small messages of graphs are valid UTF-8; their tags are not what anybody types.
_CONTROL = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f]")
_TEMPLATES = frozenset({"jinja", "jinja2", "j2"})
_PYTHON = frozenset({"py", "pyw", "pyi", "ipynb"})


def is_text(view: View) -> bool:
    """Whether it is UTF-8 or UTF-16 with a mark, at its beginning and at its end.

    Raises:
        LimitReached: The scan has read too much.
    """
    head = view.read(0, _SAMPLE_BYTES)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return _reads(head, "utf-16")
    tail = view.read(max(0, view.size - _SAMPLE_BYTES), _SAMPLE_BYTES)
    # The second sample may begin within a character.
    first = next((index for index, byte in enumerate(tail[:4]) if byte & 0xC0 != 0x80), 0)
    return _reads(head, "utf-8") and _reads(tail[first:], "utf-8")


def _reads(sample: bytes, encoding: str) -> bool:
    try:
        return _CONTROL.search(codecs.getincrementaldecoder(encoding)().decode(sample)) is None
    except UnicodeDecodeError:
        return False


def scan_text(view: View, place: Place) -> None:
    """Judges a text by its kind. What it only mentions is no finding."""
    extension = place.extension
    head = view.read(0, _SAMPLE_BYTES)
    interpreter = script_kind(head)
    if extension in _PYTHON or (interpreter and "python" in interpreter):
        place.add(Level.SAFE, "python-file", "Python code. It is not judged, and nothing runs it by itself.")
    elif interpreter:
        place.add(Level.SUSPICIOUS, "script", f"A script for {shown(interpreter)}.")
    elif extension in ("bat", "cmd", "ps1", "vbs", "sh", "command", "lnk", "scpt"):
        place.add(Level.SUSPICIOUS, "script", "A script for a shell.")
    if extension in _TEMPLATES:
        _scan_template_file(view, place)
    elif extension in ("yaml", "yml"):
        _scan_yaml(view.read(0, _YAML_BYTES), place)
    elif _is_xml(head, extension) and _XML_DTD.search(head):
        place.add(Level.SUSPICIOUS, "xml-entities", "The XML declares entities, which readers may fetch or expand.")


def _is_xml(head: bytes, extension: str) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:5] == b"<?xml" or extension in ("xml", "svg", "pmml")


def _scan_template_file(view: View, place: Place) -> None:
    scan_template(view.read(0, view.size).decode("utf-8", "replace"), place, shown(place.name.rpartition("/")[2]))


def _scan_yaml(text: bytes, place: Place) -> None:
    if found := _YAML_OBJECT.search(text):
        place.add(Level.UNSAFE, "yaml-object", "The YAML builds Python objects.", found.start())
    if found := _RUNS_CODE.search(text):
        what = f"{found[1].decode()}: {shown(found[2].decode('utf-8', 'replace'))}"
        place.add(Level.SUSPICIOUS, "remote-code", f"The file names code to be run: {what}", found.start())
