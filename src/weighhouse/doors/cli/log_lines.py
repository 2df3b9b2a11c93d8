"""Log lines: for people on a terminal, as JSON objects everywhere else."""

import logging
from datetime import UTC, datetime

import orjson

# What user text may take up in a line; more of it says nothing more.
MAX_CHARACTERS = 1024

_CONTEXT = ("request_id", "username")


class PlainLines(logging.Formatter):
    """A line that a person reads; control characters are shown, not sent."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with its traceback below."""
        told = "".join(f" {name}={value}" for name, value in _context(record).items())
        line = f"{_instant(record)} {record.levelname} {record.name}: {_message(record)}{told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line, whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        line = {"time": _instant(record), "level": record.levelname, "logger": record.name, "message": _message(record)}
        line |= _context(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def _context(record: logging.LogRecord) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in _CONTEXT if getattr(record, name, None) is not None}


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """The message on one line."""
    message = record.getMessage()[:MAX_CHARACTERS]
    if message.isprintable():
        return message
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in message)
