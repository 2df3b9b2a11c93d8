"""Chat templates: parsed for what reaches outside the conversation, never rendered."""

import re

from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.verdict import Level, shown

_MAX_CHARACTERS = 1 << 20
# Strings may lack their end here, so that each character is looked at once, whatever the input.
_STRING = r"'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)"
_EXPRESSION = re.compile(rf"\{{[{{%]((?:{_STRING}|.)*?)(?:[%}}]\}}|\Z)", re.DOTALL)
_WITH_COMMENTS = re.compile(rf"\{{#.*?(?:#\}}|\Z)|{_EXPRESSION.pattern}", re.DOTALL)
_TOKEN = re.compile(rf"({_STRING})|([A-Za-z_]\w*)|(\S)", re.DOTALL)
_INNARDS = re.compile(
    r"__(?:class|bases?|mro|subclasses|globals|builtins|init|import|getattribute|reduce(?:_ex)?|dict)__"
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|N\{([^}]*)\})")
_LOADERS = frozenset({"include", "import", "from", "extends"})
# Names that Jinja always has and from which everything else can be reached.
_GATES = frozenset({"lipsum", "cycler", "joiner", "self"})
_LAST_RESORTS = frozenset({"attr", "map", "selectattr", "rejectattr", "groupby", "format_map"})


def scan_template(text: str, place: Place, where: str) -> None:
    """Judges one template. Text outside its expressions is only text.

    Args:
        where: The key or file that holds it, for the message.
    """
    if len(text) > _MAX_CHARACTERS:
        place.add(Level.SUSPICIOUS, "template-size", f"The template at {where} is too large to be analysed.")
        return
    # What is a comment or raw text to one reading is an expression to the other, so both are judged.
    expressions = {
        found[1] for reading in (_EXPRESSION, _WITH_COMMENTS) for found in reading.finditer(text) if found[1]
    }
    for expression in expressions:
        _judge(expression, place, where)
    if _INNARDS.search(text):
        _suspicious(place, where, "names the innards of Python")


def _judge(expression: str, place: Place, where: str) -> None:
    before, opened = "", 0
    words = 0
    by_name = "attribute" in expression and "__" in expression
    for token in _TOKEN.finditer(expression):
        string, name, sign = token.groups()
        if string is not None:
            plain = _plain(string[1:])
            if plain.startswith("__") or (before == "[" and plain.startswith("_")):
                _unsafe(place, where, f"names {shown(plain, 40)}")
            if opened and before in ("+", "~"):
                _suspicious(place, where, "puts the name of an attribute together")
            before = "'"
            continue
        if name is not None:
            if before == "." and name.startswith("_"):
                _unsafe(place, where, f"reaches for the attribute {shown(name, 40)}")
            elif before == "|" and name == "attr":
                _unsafe(place, where, "looks an attribute up by its name")
            elif words == 0 and name in _LOADERS:
                _suspicious(place, where, f"loads another template ({name})")
            elif before != "." and name in _GATES:
                _suspicious(place, where, f"uses {name}")
            elif before == "|" and name in _LAST_RESORTS and by_name:
                _unsafe(place, where, "looks an attribute up by its name")
            words += 1
            before = name
            continue
        if sign in ("+", "~") and before == "'" and opened:
            _suspicious(place, where, "puts the name of an attribute together")
        if sign == "[" or sign == "]":
            opened = max(0, opened + (1 if sign == "[" else -1))
        if sign != "-" or before:
            before = sign or ""


def _plain(string: str) -> str:
    """What a string literal spells: an underscore may hide in an escape."""

    def spelled(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if digits or match[4]:
            return chr(min(int(digits, 16) if digits else int(match[4], 8), 0x10FFFF))
        return "_"

    return _ESCAPE.sub(spelled, string)


def _unsafe(place: Place, where: str, what: str) -> None:
    place.add(Level.UNSAFE, "template", f"The template at {where} {what}.")


def _suspicious(place: Place, where: str, what: str) -> None:
    place.add(Level.SUSPICIOUS, "template", f"The template at {where} {what}.")
