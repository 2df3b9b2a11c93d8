"""Graphs of TensorFlow and ONNX: operations that touch files or run code, and data that lies outside the package."""

from collections.abc import Mapping

from weighhouse.rules.scan.place import Place
from weighhouse.rules.scan.protobuf import BYTES, VARINT, Field, Schema, fields, text_of, walk
from weighhouse.rules.scan.source import Broken, View
from weighhouse.rules.scan.verdict import Level, shown

_TENSORFLOW: Schema = {
    "SavedModel": {2: "MetaGraph"},
    "MetaGraph": {2: "Graph"},
    "Graph": {1: "Node", 2: "Library"},
    "Library": {1: "Function"},
    "Function": {3: "Node"},
}
_ONNX: Schema = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "External"},
}
_ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_WRITES = "writes or moves files"
_READS = "reads files"
_UNSAFE_OPS: Mapping[str, str] = {
    **dict.fromkeys(("WriteFile", "SaveV2", "SaveSlices", "Save", "MergeV2Checkpoints", "PrintV2"), _WRITES),
    **dict.fromkeys(("DebugIdentityV2", "DebugIdentityV3", "SaveDataset", "SaveDatasetV2", "DistributedSave"), _WRITES),
    **dict.fromkeys(("WriteScalarSummary", "CreateSummaryFileWriter", "FileSystemSetConfiguration"), _WRITES),
    **dict.fromkeys(("LoadLibrary", "RpcCall", "RpcServer", "RpcClient"), "loads or calls other code"),
}
_SUSPICIOUS_OPS: Mapping[str, str] = {
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc"), "calls Python"),
    **dict.fromkeys(
        ("ReadFile", "MatchingFiles", "FixedLengthRecordDataset", "TextLineDataset", "TFRecordDataset"), _READS
    ),
    **dict.fromkeys(
        ("TextLineReader", "TextLineReaderV2", "WholeFileReader", "WholeFileReaderV2", "TFRecordReader"), _READS
    ),
    **dict.fromkeys(
        ("LoadDataset", "LoadDatasetV2", "ImmutableConst", "TFRecordReaderV2", "TFRecordDatasetV2"), _READS
    ),
}
# Every SavedModel saves and prints its own checkpoints with these; where they write is decided by the caller.
_SAVER_OPS = frozenset({"SaveV2", "MergeV2Checkpoints", "PrintV2"})
_ONNX_CODE = ("ai.onnx.contrib", "org.pytorch", "pyop")


def scan_tensorflow(view: View, place: Place) -> bool:
    """Scans a SavedModel or a bare graph, with all its functions.

    Returns:
        Whether it is one.

    Raises:
        LimitReached: It is too large or nested too deep.
    """

    found = 0

    def visit(message: str, field: Field) -> None:
        nonlocal found
        if message == "Node" and field.number == 2 and field.wire == BYTES:
            found += 1
            _judge_op(text_of(view, field, 128), place, field.start)

    root = "SavedModel" if view.read(0, 1) == b"\x08" else "Graph"
    try:
        walk(view, root, _TENSORFLOW, visit)
    except Broken as error:
        if found:
            place.add(Level.SUSPICIOUS, "graph-broken", "The graph is cut off or broken.", error.position)
    return found > 0


def _judge_op(op: str, place: Place, position: int) -> None:
    if op in _SAVER_OPS:
        return
    if act := _UNSAFE_OPS.get(op):
        place.add(Level.UNSAFE, "tensorflow-op", f"The operation {op} {act}.", position)
    elif act := _SUSPICIOUS_OPS.get(op):
        place.add(Level.SUSPICIOUS, "tensorflow-op", f"The operation {op} {act}.", position)


def is_onnx(view: View) -> bool:
    """Whether the fields at the top are those of an ONNX model, and a graph is among them."""
    graph = False
    try:
        for field in fields(view, 0, view.size):
            if field.number not in _ONNX_FIELDS or (field.number == 1 and (field.wire != VARINT or field.value > 64)):
                return False
            graph = graph or (field.number == 7 and field.wire == BYTES)
            if graph:
                return True
    except Broken:
        return graph
    return False


def scan_onnx(view: View, place: Place) -> None:
    """Scans a model: where its tensors lie, in the graph, in attributes and in functions, and operations of other makers.

    Raises:
        LimitReached: It is too large or nested too deep.
    """

    def visit(message: str, field: Field) -> None:
        if message == "External" and field.wire == BYTES:
            if field.number == 1:
                state["key"] = text_of(view, field, 64)
            elif field.number == 2 and state.get("key", "location") == "location":
                _judge_location(text_of(view, field), place, field.start)
        elif message == "Tensor" and field.number == 13:
            # A value that comes before its key is taken for the location too.
            state.pop("key", None)
        elif message == "Node" and field.number == 7 and field.wire == BYTES:
            domain = text_of(view, field, 128)
            if domain.startswith(_ONNX_CODE):
                place.add(Level.SUSPICIOUS, "onnx-op", f"An operation belongs to {shown(domain)} and may run code.")

    state: dict[str, str] = {}
    try:
        walk(view, "Model", _ONNX, visit)
    except Broken as error:
        place.add(Level.SUSPICIOUS, "graph-broken", "The model is cut off or broken.", error.position)


def _judge_location(location: str, place: Place, position: int) -> None:
    parts = location.replace("\\", "/").split("/")
    if not location or ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in location or parts[0] == "~":
        place.add(
            Level.UNSAFE, "onnx-external", f"A tensor is read from {shown(location)}, outside the package.", position
        )
