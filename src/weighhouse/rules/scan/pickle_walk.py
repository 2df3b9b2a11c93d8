"""One pickle, walked and never run: what it imports, what it calls, and where it ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from weighhouse.rules.scan.imports import judge_import
from weighhouse.rules.scan.opcodes import MAX_NAME_BYTES, TABLE, TEXTS, Opcode, line_end, name_at
from weighhouse.rules.scan.pickle_values import ANYTHING, ENTRY, IMPORT, INSTANCE, INT, MARK, TEXT, Values
from weighhouse.rules.scan.source import Broken, LimitReached, View, need
from weighhouse.rules.scan.verdict import Level, shown

_CHUNK = 64 << 10
_MAX_IMPORTS = 10_000
_MAX_NOTES = 200
_MAX_INNER = 1_000
_INTS = frozenset({"BININT", "BININT1", "BININT2", "LONG1"})
_NEVER = frozenset({"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
_KEEPS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"})
WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")


@dataclass(frozen=True, slots=True)
class Note:
    """A finding before its file is known."""

    level: Level
    kind: str
    message: str
    position: int


@dataclass(frozen=True, slots=True)
class RawArray:
    """The array that joblib reads from the file when this object is built: dtype as numpy spells it, and its shape."""

    dtype: str
    shape: Sequence[int]
    aligned: bool


class PickleWalk(Values):
    """A walk over the pickle at `position`. What was found stays readable when the walk fails.

    Attributes:
        position: The next byte; after `run` the one behind the pickle, or behind the opcode that makes it wait.
        calls: How many calls it makes, whatever of.
        inner: Spans of byte strings that look like pickles or archives.
    """

    def __init__(self, view: View, position: int) -> None:
        self.position = position
        self.calls = 0
        self.notes: list[Note] = []
        self.inner: list[tuple[int, int]] = []
        self.imports: list[tuple[str, str]] = []
        super().__init__()
        self._view = view
        self._known: dict[tuple[str, str], int] = {}
        self._last_items: Sequence[int] = ()
        self._raw: RawArray | None = None
        self._argument = b""
        self._start = position
        self._handlers: Mapping[str, Callable[[], None]] = {
            name.removeprefix("_on_").upper(): getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }

    def run(self) -> RawArray | None:
        """Walks to the end; or to where an array lies in the file, which is given. Call again behind that array.

        Raises:
            Broken: It is no pickle from `position` on.
            LimitReached: It is too large to be analysed.
        """
        view, base, chunk, steps = self._view, 0, b"", 0
        while True:
            offset = self.position - base
            if offset < 0 or offset + 16 > len(chunk):
                base, offset = self.position, 0
                chunk = view.read(base, _CHUNK)
                view.budget.spend("opcodes", steps)
                steps = 0
                if not chunk:
                    raise Broken("The pickle has no end.", base)
            steps += 1
            opcode = TABLE[chunk[offset]]
            if opcode is None:
                raise Broken("This is no opcode of a pickle.", self.position)
            self._start = self.position
            if opcode.fixed:
                self._argument = chunk[offset + 1 : offset + 1 + opcode.fixed]
                if len(self._argument) < opcode.fixed:
                    raise Broken("The pickle ends within an opcode.", self.position)
                self.position += 1 + opcode.fixed
            else:
                self.position += 1
                if opcode.counted or opcode.lines:
                    self._skip_argument(opcode)
            if opcode.name == "STOP":
                self._pop()
                view.budget.spend("opcodes", steps)
                return None
            self._execute(opcode)
            if self._raw is not None:
                view.budget.spend("opcodes", steps)
                raw, self._raw = self._raw, None
                return raw

    def note(self, level: Level, kind: str, message: str) -> None:
        """Notes a finding at the opcode of now."""
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(Note(level, kind, message, self._start))
        elif level is Level.UNSAFE:
            self.notes[-1] = Note(level, kind, message, self._start)

    def _skip_argument(self, opcode: Opcode) -> None:
        if opcode.lines:
            for _ in range(opcode.lines):
                self.position = line_end(self._view, self.position) + 1
            return
        length = int.from_bytes(need(self._view, self.position, opcode.counted), "little")
        self.position += opcode.counted
        if length > self._view.size - self.position:
            raise Broken("A string in the pickle is longer than the file.", self._start)
        self._argument = b""
        if opcode.name == "LONG1" and length <= 7:
            self._argument = need(self._view, self.position, length)
        if length > 3 and "UNICODE" not in opcode.name:
            self._look_inside(length)
        self.position += length

    def _look_inside(self, length: int) -> None:
        head = self._view.read(self.position, 4)
        if (head[0] == 0x80 and head[1] < 6) or head in (b"PK\3\4", b"\x93NUM") or head[:2] == b"\x1f\x8b":
            if len(self.inner) < _MAX_INNER:
                self.inner.append((self.position, length))
            else:
                self.note(Level.SUSPICIOUS, "pickle-limit", "The pickle holds too many other files to look at all.")

    def _execute(self, opcode: Opcode) -> None:
        name = opcode.name
        handler = self._handlers.get(name)
        if handler is not None:
            handler()
        elif name in TEXTS:
            self._push(TEXT | self._start << 3)
        elif name in _INTS:
            self._push(INT | int.from_bytes(self._argument, "little", signed=name in ("BININT", "LONG1")) << 3)
        elif name in _KEEPS:
            self._keep(opcode)
        else:
            if name in _NEVER:
                self.note(Level.SUSPICIOUS, "pickle-extension", f"The pickle takes something from outside it ({name}).")
            if opcode.to_mark:
                self._pop_to_mark()
            for _ in range(opcode.takes):
                self._pop()
            for _ in range(opcode.gives):
                self._push(ANYTHING)

    def _line_number(self) -> int:
        digits = need(self._view, self._start + 1, min(self.position - self._start - 1, 24))
        try:
            return int(digits)
        except ValueError as error:
            raise Broken("A place in the pickle's memo is no number.", self._start) from error

    def _keep(self, opcode: Opcode) -> None:
        """Items go into the container below them, which stays."""
        kept = opcode.takes - 1
        items = self._pop_to_mark() if opcode.to_mark else [self._pop() for _ in range(kept)][::-1]
        self._last_items = items if len(items) <= 32 else ()
        self._top()

    # Handlers, by the name of their opcode.

    def _on_mark(self) -> None:
        self._push(MARK)

    def _on_pop(self) -> None:
        if not self._stack:
            raise Broken("The pickle takes more from its stack than is there.", self._start)
        self._stack.pop()

    def _on_pop_mark(self) -> None:
        self._pop_to_mark()

    def _on_dup(self) -> None:
        self._push(self._top())

    def _on_proto(self) -> None:
        if self._argument[0] > 5:
            raise Broken("The pickle has a protocol that does not exist.", self._start)

    def _on_put(self) -> None:
        self._remember(self._line_number())

    def _on_binput(self) -> None:
        self._remember(self._argument[0])

    def _on_long_binput(self) -> None:
        self._remember(int.from_bytes(self._argument, "little"))

    def _on_memoize(self) -> None:
        self._remember(self._memoized)

    def _on_get(self) -> None:
        self._recall(self._line_number())

    def _on_binget(self) -> None:
        self._recall(self._argument[0])

    def _on_long_binget(self) -> None:
        self._recall(int.from_bytes(self._argument, "little"))

    def _on_empty_tuple(self) -> None:
        self._push_tuple(())

    def _on_tuple1(self) -> None:
        self._push_tuple((self._pop(),))

    def _on_tuple2(self) -> None:
        self._push_tuple(tuple(self._pop() for _ in range(2))[::-1])

    def _on_tuple3(self) -> None:
        self._push_tuple(tuple(self._pop() for _ in range(3))[::-1])

    def _on_tuple(self) -> None:
        items = self._pop_to_mark()
        self._push_tuple(tuple(items) if len(items) <= 32 else None)

    def _on_global(self) -> None:
        self._import(*self._line_names())

    def _on_stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        names = [name_at(self._view, value >> 3) if value & 7 == TEXT else None for value in (module, name)]
        self._import(*names)

    def _line_names(self) -> tuple[str | None, str | None]:
        if self.position - self._start > 2 * MAX_NAME_BYTES:
            return None, None
        lines = need(self._view, self._start + 1, self.position - self._start - 1).split(b"\n")
        return lines[0].decode("utf-8", "backslashreplace"), lines[1].decode("utf-8", "backslashreplace")

    def _import(self, module: str | None, name: str | None) -> None:
        if module is None or name is None:
            self.note(Level.UNSAFE, "pickle-import", "The pickle imports something whose name it computes.")
            self._push(ANYTHING)
            return
        index = self._known.get((module, name))
        if index is None:
            if len(self.imports) >= _MAX_IMPORTS:
                raise LimitReached("The pickle imports too many names.")
            index = self._known[module, name] = len(self.imports)
            self.imports.append((module, name))
            level, reason = judge_import(module, name)
            if level is not Level.SAFE:
                self.note(level, "pickle-import", f"The pickle imports {shown(module)}.{shown(name)}, which {reason}.")
        self._push(IMPORT | index << 3)

    def _on_inst(self) -> None:
        self._pop_to_mark()
        self._import(*self._line_names())
        self._call(self._pop(), ANYTHING)

    def _on_obj(self) -> None:
        items = self._pop_to_mark()
        if not items:
            raise Broken("The pickle makes an object of nothing.", self._start)
        self._call(items[0], ANYTHING)

    def _on_reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _on_newobj(self) -> None:
        self._on_reduce()

    def _on_newobj_ex(self) -> None:
        self._pop()
        self._on_reduce()

    def _call(self, function: int, arguments: int) -> None:
        self.calls += 1
        if function & 7 != IMPORT:
            self.note(Level.SUSPICIOUS, "pickle-call", "The pickle calls something that it does not import by name.")
            self._push(ANYTHING)
            return
        if self.imports[function >> 3] == ("numpy", "dtype") and arguments & 7 == ENTRY:
            items = self._entries[arguments >> 3]
            if items and isinstance(items, tuple) and items[0] & 7 == TEXT:
                self._push(self._entry(name_at(self._view, items[0] >> 3) or ""))
                return
        self._push(INSTANCE | function >> 3 << 3)

    def _on_build(self) -> None:
        self._pop()
        value = self._top()
        if value & 7 == IMPORT:
            self.note(Level.UNSAFE, "pickle-build", "The pickle changes something that it imports.")
        elif value & 7 == INSTANCE and self.imports[value >> 3] == WRAPPER:
            self._raw = self._raw_array()

    def _raw_array(self) -> RawArray:
        """What the state says that was just put together for joblib's wrapper.

        Raises:
            Broken: It is not the state that joblib writes.
        """
        items = self._last_items
        state: dict[str, int] = {}
        for key, value in zip(items[::2], items[1::2], strict=False):
            state[(name_at(self._view, key >> 3) or "") if key & 7 == TEXT else ""] = value
        shape, dtype = state.get("shape", 0), state.get("dtype", 0)
        sizes = self._entries[shape >> 3] if shape & 7 == ENTRY else ""
        name = self._entries[dtype >> 3] if dtype & 7 == ENTRY else ()
        if isinstance(sizes, str) or not isinstance(name, str) or any(size & 7 != INT for size in sizes):
            raise Broken("The array after an object of joblib cannot be measured.", self._start)
        aligned = state.get("numpy_array_alignment_bytes", 0) & 7 == INT
        return RawArray(name, [size >> 3 for size in sizes], aligned)
