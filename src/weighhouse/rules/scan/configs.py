"""Configuration in JSON: what it makes a loader run. Layers of Keras, code maps, templates, names of classes."""

import json
import re
from collections.abc import Iterator
from typing import Any

from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.source import View
from weighhouse.rules.scan.templates import scan_template
from weighhouse.rules.scan.verdict import Level, shown

MAX_JSON_BYTES = 2 << 20
_CHUNK, _OVERLAP, _SHORT_BYTES = 1 << 20, 64, 16 << 10
# Files that the Hub's libraries read to decide what to load. The large ones, vocabularies, decide nothing.
_DECIDING = re.compile(r"(?:^|/)(?:[\w.-]*config|chat_template|model_index|modules|metadata|index|args|params)\.json$")
_LOUD = re.compile(
    rb'"(auto_map|custom_pipelines|custom_generate|_target_|trust_remote_code)"\s*:\s*(?!null|false|\{\s*\}|"")'
)
_RUNS_CODE = frozenset({"auto_map", "custom_pipelines", "custom_generate", "_target_", "trust_remote_code"})
_KERNELS = frozenset(
    {"_attn_implementation", "attn_implementation", "_attn_implementation_internal", "_experts_implementation"}
)
_KERAS_DATA = re.compile(
    r"(?:builtins|keras(?:_core|\.src|\.api)?(?:\.\w+)*|tensorflow\.keras(?:\.\w+)*|tf_keras(?:\.src)?(?:\.\w+)*"
    r"|tensorflow\.python\.keras(?:\.\w+)*|keras_(?:hub|nlp|cv)(?:\.\w+)*)"
)
_FUNCTION_HOMES = re.compile(
    r"(?:tf_)?keras(?:\.src)?\.(?:activations|losses|metrics|initializers|regularizers|constraints)(?:\.\w+)*"
)
_PIPELINES = frozenset(
    {"diffusers", "transformers", "onnxruntime", "flax", "stable_diffusion", "wuerstchen", "deepfloyd_if"}
)
_OBJECT_START = re.compile(rb'\{\s*"(?:[^"\\]|\\.){1,64}"\s*:')


def scan_json(view: View, place: Place) -> bool:
    """Scans a JSON document, whole when it is one that decides something.

    Returns:
        Whether it is JSON, as far as was read.
    """
    if view.size > MAX_JSON_BYTES:
        if _DECIDING.search(place.name):
            place.add(Level.SUSPICIOUS, "config-size", "The configuration is too large to be analysed.")
        _scan_loud(view, place)
        return True
    text = view.read(0, view.size)
    view.budget.spend("parsed", len(text))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        _scan_loud(view, place)
        return False
    scan_document(document, place)
    return True


def scan_document(document: object, place: Place) -> None:
    """Judges a configuration that is read already."""
    if place.name.rpartition("/")[2] == "model_index.json" and isinstance(document, dict):
        _judge_pipeline(document, place)
    if place.name.rpartition("/")[2] == "modules.json" and isinstance(document, list):
        _judge_modules(document, place)
    for member in _objects(document):
        for key, value in member.items():
            _judge_member(key, value, place)
        if "class_name" in member:
            _judge_layer(member, place)


def find_documents(view: View, place: Place, *, wanted: bool) -> None:
    """Scans JSON that lies somewhere in a binary file, as Keras puts it into HDF5.

    Args:
        wanted: Whether one must be there that describes layers.
    """
    position, seen = 0, False
    while position < view.size:
        chunk = view.read(position, _CHUNK)
        if not chunk:
            break
        end = position + max(len(chunk) - _OVERLAP, 1) if position + len(chunk) < view.size else view.size
        for start in _OBJECT_START.finditer(chunk):
            at = position + start.start()
            if at >= end:
                break
            document, length = _document_at(view, at)
            if document is not None:
                scan_document(document, place)
                seen = seen or any("class_name" in member for member in _objects(document))
                end = at + length
                break
        position = end
    if wanted and not seen:
        place.add(Level.SUSPICIOUS, "keras-config", "The description of the layers cannot be read.")


def _document_at(view: View, at: int) -> tuple[object, int]:
    """The JSON that begins at `at`, and its length. Most of what begins like JSON is none, so a little is read first."""
    for size in (_SHORT_BYTES, 16 * _SHORT_BYTES, 4 * MAX_JSON_BYTES):
        text = view.part(at, size).read(0, size)
        view.budget.spend("parsed", len(text))
        document, length = _first_document(text)
        # What fails without reaching the end of the sample would fail with more of it too.
        if document is not None or length < len(text) - _SHORT_BYTES // 2 or len(text) < size:
            return document, length
    return None, 0


def _first_document(text: bytes) -> tuple[object, int]:
    # One byte a character, so that the length in characters is the length in bytes.
    try:
        return json.JSONDecoder(strict=False).raw_decode(text.decode("latin-1"))
    except json.JSONDecodeError as error:
        return None, len(text) if error.msg.startswith("Unterminated") else error.pos
    except (ValueError, RecursionError):
        return None, 0


def _scan_loud(view: View, place: Place) -> None:
    for position in range(0, view.size, _CHUNK):
        if found := _LOUD.search(view.read(position, _CHUNK + _OVERLAP)):
            place.add(
                Level.SUSPICIOUS,
                "remote-code",
                f"The file sets {found[1].decode()}, which loads code.",
                position + found.start(),
            )
            return


def _objects(document: object) -> Iterator[dict[str, Any]]:
    """Every object in it. A loop, so that depth costs no stack."""
    waiting = [document]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, str) and found[:1] == "{" and '"class_name"' in found:
            # Keras wraps descriptions into strings of descriptions.
            inner, _ = _first_document(found.encode("utf-8", "replace"))
            if inner is not None and len(found) <= MAX_JSON_BYTES:
                waiting.append(inner)


def _judge_member(key: str, value: object, place: Place) -> None:
    if key in _RUNS_CODE and value and (value is True or not isinstance(value, int | float)):
        level, where = Level.SUSPICIOUS, shown(json.dumps(value), 120)
        place.add(level, "remote-code", f"{key} makes a loader run code that is not part of its library: {where}")
    elif key in _KERNELS and isinstance(value, str) and "/" in value:
        place.add(Level.SUSPICIOUS, "remote-code", f"{key} fetches code from {shown(value)}.")
    elif key == "chat_template" or key.endswith("_chat_template"):
        templates = value if isinstance(value, list) else [value]
        for template in templates:
            text = template.get("template") if isinstance(template, dict) else template
            if isinstance(text, str):
                scan_template(text, place, shown(key))
    elif key == "vocabulary" and isinstance(value, str) and ("/" in value or "\\" in value):
        place.add(Level.SUSPICIOUS, "keras-path", f"A layer reads the file {shown(value)}.")


def _judge_layer(layer: dict[str, Any], place: Place) -> None:
    name, module = layer.get("class_name"), layer.get("module")
    if name in ("Lambda", "__lambda__"):
        place.add(Level.UNSAFE, "keras-lambda", "A Lambda layer runs code that is stored in the file.")
    elif name == "function" and isinstance(module, str) and not _FUNCTION_HOMES.fullmatch(module):
        called = shown(f"{module}.{layer.get('config')}")
        place.add(Level.UNSAFE, "keras-function", f"The model calls the function {called}.")
    elif isinstance(module, str) and not _KERAS_DATA.fullmatch(module):
        place.add(
            Level.UNSAFE, "keras-module", f"The model takes {shown(str(name))} from {shown(module)}, outside Keras."
        )
    elif isinstance(name, str) and name in ("TFOpLambda", "SlicingOpLambda", "get_file"):
        place.add(Level.SUSPICIOUS, "keras-function", f"The model calls a function by name ({name}).")


def _judge_pipeline(document: dict[str, Any], place: Place) -> None:
    for part, value in document.items():
        if not part.startswith("_") and isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            library = value[0].partition(".")[0]
            if library not in _PIPELINES:
                place.add(Level.SUSPICIOUS, "remote-code", f"{shown(part)} is loaded from {shown(value[0])}.")
    own = document.get("_class_name")
    if isinstance(own, list):
        place.add(Level.SUSPICIOUS, "remote-code", f"The pipeline is code of the package: {shown(str(own))}")


def _judge_modules(document: list[Any], place: Place) -> None:
    for module in document:
        kind = module.get("type") if isinstance(module, dict) else None
        if isinstance(kind, str) and not kind.startswith("sentence_transformers."):
            place.add(Level.SUSPICIOUS, "remote-code", f"A module is loaded from {shown(kind)}.")
