"""Files that would do something when they are loaded, and their benign neighbours, for tests of the scanner.

What they would do is `true`, and no test loads one. Formats are written by their own library where it is here, else by hand.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import types
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from safetensors.numpy import save as save_safetensors


@dataclass(frozen=True)
class Payload:
    """A file: what it is, where it would stand in a package, and its bytes."""

    name: str
    path: str
    content: bytes


class _Runs:
    def __init__(self, function: Callable[..., object] = os.system, *arguments: object) -> None:
        self.call = function, arguments or ("true",)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def running_pickle(protocol: int = 2) -> bytes:
    """A pickle that runs a command."""
    return pickle.dumps({"weights": [1, 2], "then": _Runs()}, protocol=protocol)


@contextmanager
def stubs(**modules: str) -> Iterator[dict[str, Any]]:
    """Classes under the names of libraries that are not here, for as long as a pickle is written.

    Args:
        modules: Names of classes by module, `__` for a dot.
    """
    kept, made = dict(sys.modules), {}
    for key, names in modules.items():
        module = types.ModuleType(key.replace("__", "."))
        for part in range(1, module.__name__.count(".") + 1):
            parent = ".".join(module.__name__.split(".")[:part])
            sys.modules.setdefault(parent, types.ModuleType(parent))
        sys.modules[module.__name__] = module
        for name in names.split():
            made[name] = type(name, (), {"__module__": module.__name__, "__qualname__": name})
            setattr(module, name, made[name])
    try:
        yield made
    finally:
        for name in set(sys.modules) - set(kept):
            del sys.modules[name]
        sys.modules.update(kept)


class _Storage:
    """A storage of PyTorch, which its pickles name from outside."""

    def __init__(self, key: str, count: int) -> None:
        self.key, self.count = key, count


class _Tensor:
    def __init__(self, rebuild: Any, storage: _Storage) -> None:
        self.call: Any = rebuild, (storage, 0, (storage.count,), (1,), False, OrderedDict())

    def __reduce__(self) -> Any:
        return self.call


class _TorchPickler(pickle.Pickler):
    kind: Any = None

    def persistent_id(self, found: object) -> object:
        if isinstance(found, _Storage):
            return "storage", self.kind, found.key, "cpu", found.count
        return None


def state_dict_pickle(tensors: int = 2, count: int = 4, extra: Mapping[str, object] | None = None) -> bytes:
    """`data.pkl` of a PyTorch archive, as `torch.save` writes it."""
    with stubs(torch="FloatStorage", torch___utils="_rebuild_tensor_v2") as made:
        state = OrderedDict(
            (f"w{i}", _Tensor(made["_rebuild_tensor_v2"], _Storage(str(i), count))) for i in range(tensors)
        )
        out = io.BytesIO()
        pickler = _TorchPickler(out, protocol=2)
        pickler.kind = made["FloatStorage"]
        pickler.dump(OrderedDict([*state.items(), *(extra or {}).items()]))
        return out.getvalue()


def zip_file(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tar_file(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A TAR."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]  # The mode is not a literal.
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def torch_zip(program: bytes, tensors: int = 2, count: int = 4, method: int = zipfile.ZIP_STORED) -> bytes:
    """A PyTorch archive around a pickle."""
    data = {f"archive/data/{i}": np.arange(count, dtype="f4").tobytes() for i in range(tensors)}
    return zip_file(
        {"archive/data.pkl": program, "archive/byteorder": b"little", **data, "archive/version": b"3\n"}, method
    )


def torch_stream(program: bytes, tensors: int = 2, count: int = 4) -> bytes:
    """What PyTorch wrote before archives: five pickles, then the numbers."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}]
    first = b"".join(pickle.dumps(value, protocol=2) for value in head)
    keys = pickle.dumps([str(i) for i in range(tensors)], protocol=2)
    storage = struct.pack("<q", count) + np.arange(count, dtype="f4").tobytes()
    return first + program + keys + storage * tensors


def joblib_file(array: np.ndarray[Any, Any], after: object = "the end", inside: bytes | None = None) -> bytes:
    """What joblib writes for a dictionary with an array: the array's bytes in the middle of the pickle.

    Args:
        inside: The pickle that stands for an array of objects.
    """
    with stubs(joblib__numpy_pickle="NumpyArrayWrapper") as made:
        wrapper = made["NumpyArrayWrapper"]()
        wrapper.__dict__.update(
            subclass=np.ndarray,
            shape=array.shape,
            order="C",
            dtype=array.dtype,
            allow_mmap=not array.dtype.hasobject,
            numpy_array_alignment_bytes=16,
        )
        marker = "a place that is found again"
        whole = pickle.dumps({"array": wrapper, marker: after}, protocol=3)
    # joblib writes the array right behind the BUILD of its wrapper, which no framing of protocol 4 hides here.
    split = whole.index(b"ubX" if b"ubX" in whole else b"ub", whole.index(b"numpy_array_alignment_bytes")) + 2
    raw = inside if inside is not None else b"\x07" + b"\xff" * 7 + array.tobytes()
    return whole[:split] + raw + whole[split:]


def varint(number: int) -> bytes:
    """A number of a protocol buffer."""
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def proto(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A protocol buffer."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(content)) + content
    return out


def saved_model(*ops: str, function_ops: Sequence[str] = ()) -> bytes:
    """A SavedModel of TensorFlow."""
    nodes = [(1, proto((1, f"node{i}"), (2, op))) for i, op in enumerate(ops)]
    inside = [(3, proto((1, f"inner{i}"), (2, op))) for i, op in enumerate(function_ops)]
    library = proto((1, proto((1, proto((1, "function"))), *inside)))
    return proto((1, 1), (2, proto((1, proto((5, "2.15"))), (2, proto(*nodes, (2, library))))))


def onnx_model(location: str | None = None, *, where: str = "initializer", domain: str = "") -> bytes:
    """An ONNX model with one tensor."""
    fields: list[tuple[int, int | bytes | str]] = [(1, 4), (2, 1), (8, "w")]
    if location is None:
        tensor = proto(*fields, (9, np.zeros(4, "f4").tobytes()))
    else:
        entry = proto((1, "location"), (2, location))
        tensor = proto(*fields, (13, entry), (13, proto((1, "offset"), (2, "0"))), (14, 1))
    attribute = proto((1, "value"), (5, tensor), (20, 4))
    node = proto(
        (1, "x"), (2, "y"), (4, "Constant"), (7, domain), *([(5, attribute)] if where != "initializer" else [])
    )
    graph = proto((1, node), (2, "graph"), *([(5, tensor)] if where == "initializer" else []))
    if where == "subgraph":
        graph = proto((1, proto((4, "If"), (5, proto((1, "then_branch"), (6, graph))))))
    function = [(25, proto((1, "f"), (7, node)))] if where == "function" else []
    return proto(
        (1, 8), (2, "pytorch"), (7, proto((2, "g")) if where == "function" else graph), (8, proto((2, 17))), *function
    )


def gguf_file(pairs: Mapping[str, str]) -> bytes:
    """A GGUF file with one tensor."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs))
    head += b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in pairs.items())
    head += text("w") + struct.pack("<IQIQ", 1, 8, 0, 0)
    return head + b"\0" * (-len(head) % 32) + b"\0" * 32


def keras_config(*layers: Mapping[str, object]) -> bytes:
    """`config.json` of a Keras model."""
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": "relu"}}
    return json.dumps(
        {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [dense, *layers]}}
    ).encode()


def hdf5_file(config: bytes) -> bytes:
    """The skeleton of an HDF5 file: its mark, an attribute, and numbers."""
    return b"\x89HDF\r\n\x1a\n" + b"\0" * 88 + b"model_config\0\0\0\0" + config + b"\0" * 64 + np.arange(64.0).tobytes()


GOOD_TEMPLATE = (
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message.content | trim }}"
    "{%- if not loop.last and messages[loop.index0 + 1]['role'] != 'user' %}<|im_end|>{% endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}{# a comment: {{ x }} #}"
)
BAD_TEMPLATE = "{{ messages }}{% for c in ().__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}"
COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
}


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _text(name: bytes) -> bytes:
    return b"\x8c" + bytes([len(name)]) + name


def harmful_pickles() -> Iterator[Payload]:
    """Bare pickles that run something, each put together in its own way."""
    for protocol in range(6):
        yield Payload(f"protocol {protocol}", "model.pkl", running_pickle(protocol))
    call = _text(b"true") + b"\x85R."
    popen = _text(b"true") + b"\x85\x81."
    by_hand = {
        "names from the memo": b"\x80\x04" + _text(b"system") + b"\x94" + _text(b"os") + b"\x940h\x01h\x00\x93" + call,
        "names by other opcodes": b"\x80\x04V\\u006fs\nS'sys\\x74em'\n\x93" + call,
        "a name from far in the memo": b"\x80\x04"
        + _text(b"os")
        + b"r\xff\xff\xff\x7f0j\xff\xff\xff\x7f"
        + _text(b"system")
        + b"\x93"
        + call,
        "a name that is computed": b"\x80\x04c_codecs\nencode\n"
        + _text(b"os")
        + b"\x85R"
        + _text(b"system")
        + b"\x93"
        + call,
        "INST": b"(S'true'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'true'\no.",
        "NEWOBJ": b"\x80\x04" + _text(b"subprocess") + _text(b"Popen") + b"\x93" + popen,
        "a dotted name": b"\x80\x04" + _text(b"numpy") + _text(b"core.os.system") + b"\x93" + call,
        "names of Python 2": b"c__builtin__\neval\n(S'1'\ntR.",
        "a library's function": b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
        "an import that is changed": b"\x80\x02ccollections\nOrderedDict\nN}U\x01aK\x01s\x86b.",
        "an extension": b"\x80\x02\x82\x01)R.",
        "a call of what a call gave": b"\x80\x02ccollections\ndefaultdict\n)R)R.",
        "an unknown module": b"\x80\x02cnot_known\nthing\n)R.",
        "a callback in a container": b"\x80\x02ccollections\ndefaultdict\ncos\ngetcwd\n\x85R.",
        "a nested pickle": pickle.dumps(_Runs(pickle.loads, running_pickle()), protocol=4),
        "a pickle in the bytes of a benign one": pickle.dumps({"state": running_pickle(4)}, protocol=4),
        "broken behind the payload": running_pickle(4)[:-1] + b"\xff\xff\xff",
        "cut off behind the payload": b"\x80\x02cos\nsystem\nU\x04true\x85R",
        "protocol 0, broken behind the payload": b"cos\nsystem\n(S'true'\ntR\xff",
        "the second of two": pickle.dumps([1]) + running_pickle(4),
        "the third, of protocol 0": pickle.dumps(1) * 2 + running_pickle(0),
        "behind data that is no pickle": pickle.dumps([1]) + b"\0" * 64,
        "many numbers before": pickle.dumps(list(range(100_000)))[:-1] + b"0" + running_pickle()[2:],
    }
    for name, content in by_hand.items():
        yield Payload(name, "model.pkl", content)


def harmful_wrappings() -> Iterator[Payload]:
    """Pickles that run something, in all that is put around them."""
    evil = running_pickle(2)
    for name, press in COMPRESSIONS.items():
        yield Payload(f"joblib in {name}", "model.joblib", press(running_pickle(4)))
    with_array = joblib_file(np.arange(12.0).reshape(3, 4), after=_Runs())
    yield Payload("joblib, behind an array", "model.joblib", with_array)
    yield Payload("joblib, behind an array, compressed", "model.joblib.z", zlib.compress(with_array))
    objects = np.array([_Runs()], dtype=object)
    inside = pickle.dumps(objects, protocol=3)
    yield Payload("joblib, in an array of objects", "model.joblib", joblib_file(objects, inside=inside))
    yield Payload("an array of objects", "array.npy", _npy(objects))
    yield Payload("arrays of objects in a ZIP", "arrays.npz", _npz(good=np.arange(3), bad=objects))
    for name, path in {"ZIP": "model.pt", "ZIP by another name": "model.bin"}.items():
        yield Payload(f"PyTorch {name}", path, torch_zip(evil))
    yield Payload("PyTorch ZIP, packed", "model.pt", torch_zip(evil, method=zipfile.ZIP_DEFLATED))
    good = torch_zip(evil)
    yield Payload(
        "PyTorch ZIP, wrong checksums", "model.pt", good.replace(struct.pack("<I", zlib.crc32(evil)), b"\1\2\3\4")
    )
    at, end = good.index(b"PK\1\2"), good.rindex(b"PK\5\6")
    yield Payload("PyTorch ZIP, said to be encrypted", "model.pt", good[: at + 8] + b"\1" + good[at + 9 :])
    name_at = good.index(b"archive/data.pkl")
    yield Payload("PyTorch ZIP, two names", "model.pt", good[:name_at] + b"archive/data.txt" + good[name_at + 16 :])
    yield Payload("PyTorch ZIP without its end", "model.pt", good[:end])
    yield Payload("PyTorch ZIP behind a picture", "cat.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100 + good)
    yield Payload("PyTorch stream", "model.pth", torch_stream(evil))
    yield Payload(
        "PyTorch TAR", "model.tar", tar_file({"sys_info": pickle.dumps({}), "pickle": evil, "storages": b"\0"})
    )
    for name in ("notes.txt", "model.safetensors", "tokenizer.json", "cat.png", "weights", "model.gguf", "README.md"):
        yield Payload(f"renamed to {name}", name, running_pickle(4))
        yield Payload(f"protocol 0 renamed to {name}", name, running_pickle(0))
    yield Payload(
        "in a TAR in a ZIP, packed twice",
        "x.bin",
        gzip.compress(bz2.compress(zip_file({"a.tar": tar_file({"m": evil})}))),
    )
    yield Payload("the second stream of two", "x.gz", gzip.compress(b"") + gzip.compress(evil))
    yield Payload("a TAR", "x.tar.gz", tar_file({"data/": b"", "a" * 200: evil}, "w:gz"))


def harmful_models() -> Iterator[Payload]:
    """Models of other formats that run something or leave the package."""
    marshalled: Mapping[str, object] = {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}}
    function = {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
    activation = {"module": "keras.layers", "class_name": "Activation", "config": {"activation": function}}
    escaped = keras_config(marshalled).replace(b"Lambda", b"L\\u0061mbda")
    for name, config in {
        "a Lambda layer": keras_config(marshalled),
        "a Lambda layer, escaped": escaped,
        "a function by name": keras_config(activation),
        "a layer of another module": keras_config({"module": "os", "class_name": "system", "config": {}}),
    }.items():
        yield Payload(f"Keras with {name}", "model.keras", zip_file({"metadata.json": b"{}", "config.json": config}))
        yield Payload(f"HDF5 with {name}", "model.h5", hdf5_file(config))
    yield Payload("HDF5 whose layers cannot be read", "model.h5", hdf5_file(keras_config()[:-9]))
    yield Payload(
        "Keras that reads a file",
        "model.keras",
        zip_file(
            {
                "config.json": keras_config(
                    {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}
                )
            }
        ),
    )
    for op in ("WriteFile", "ReadFile", "PyFunc", "MatchingFiles", "EagerPyFunc"):
        yield Payload(f"TensorFlow with {op}", "saved_model.pb", saved_model("Const", op))
    yield Payload(
        "TensorFlow with WriteFile in a function",
        "saved_model.pb",
        saved_model("Const", function_ops=["Add", "WriteFile"]),
    )
    yield Payload("a bare graph with ReadFile", "graph.pb", proto((1, proto((1, "n"), (2, "ReadFile")))))
    for location in ("../../etc/passwd", "/etc/passwd", "C:\\secret", "a/../../b", "https://host/x"):
        yield Payload(f"ONNX that reads {location}", "model.onnx", onnx_model(location))
    for where in ("attribute", "subgraph", "function"):
        yield Payload(f"ONNX that reads outside in {where}", "model.onnx", onnx_model("../x", where=where))
    yield Payload("ONNX with Python", "model.onnx", onnx_model(domain="ai.onnx.contrib"))
    for key in ("tokenizer.chat_template", "tokenizer.chat_template.tool_use"):
        yield Payload(f"GGUF, {key}", "model.gguf", gguf_file({key: BAD_TEMPLATE}))


def harmful_files() -> Iterator[Payload]:
    """Configuration, programs and archives that run something or leave the package."""
    templates = {
        "a subscript": "{{ ''['__class__'] }}",
        "an escape": "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
        "a filter": "{{ '' | attr('__cla' ~ 'ss__') }}",
        "a sum": "{{ ''['_' + '_class_' + '_'] }}",
        "a gate": "{{ cycler.__init__.__globals__ }}",
        "an end in a string": "{{ '}}' ~ messages.__class__ }}",
        "a comment in a string": "{{ '{#' ~ messages.__class__ ~ '#}' }}",
        "a comment in raw text": "{% raw %}{#{% endraw %}{{ x.__class__ }}{% raw %}#}{% endraw %}",
        "an include": "{% include '/etc/passwd' %}",
    }
    for name, template in templates.items():
        yield Payload(f"a template with {name}", "chat_template.jinja", template.encode())
    named = {
        "chat_template": [{"name": "default", "template": GOOD_TEMPLATE}, {"name": "tools", "template": BAD_TEMPLATE}]
    }
    configs: Mapping[str, object] = {
        "tokenizer_config.json": named,
        "config.json": {"model_type": "x", "auto_map": {"AutoModel": "modeling_x.X"}},
        "generation_config.json": {"trust_remote_code": True},
        "conf/config.json": {"model": {"_target_": "os.system", "command": "true"}},
        "model_index.json": {"_class_name": "P", "unet": ["my_unet", "Unet"]},
        "modules.json": [{"idx": 0, "type": "custom.Module"}],
        "adapter_config.json": {"base": {"attn_implementation": "someone/kernel"}},
    }
    for path, config in configs.items():
        yield Payload(f"configuration {path}", path, json.dumps(config).encode())
    yield Payload("a code map, escaped", "config.json", b'{"auto\\u005fmap": {"AutoModel": "x--y.Z"}}')
    yield Payload(
        "a code map behind much else",
        "config.json",
        json.dumps({"a": "x" * 3_000_000, "auto_map": {"A": "b"}}).encode(),
    )
    yield Payload("YAML with objects", "hparams.yaml", b"x: !!python/object/apply:os.system ['true']\n")
    yield Payload("YAML with a target", "config.yaml", b"model:\n  _target_: os.system\n")
    yield Payload(
        "XML with entities",
        "model.pmml",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a>&b;</a>',
    )
    yield Payload("ELF", "libx.so", b"\x7fELF\x02\x01\x01" + b"\0" * 57)
    yield Payload("ELF by another name", "weights.bin", b"\x7fELF\x02\x01\x01" + b"\0" * 57)
    yield Payload("PE", "x.dll", b"MZ" + b"\0" * 58 + struct.pack("<I", 64) + b"PE\0\0" + b"\0" * 64)
    yield Payload("Mach-O", "x.dylib", bytes.fromhex("cffaedfe") + b"\0" * 60)
    yield Payload("a shell script", "setup", b"#!/bin/sh\ntrue\n")
    yield Payload("a shortcut", "x.lnk", bytes.fromhex("4c0000000114020000000000c000000000000046") + b"\0" * 60)
    yield Payload("ELF in a ZIP", "x.zip", zip_file({"lib/x.so": b"\x7fELF\x02" + b"\0" * 60}))
    yield Payload("a ZIP that leaves its folder", "x.zip", zip_file({"../../x.txt": b"x"}))
    yield Payload("a TAR that leaves its folder", "x.tar", tar_file({"../x.txt": b"x"}))
    deep = running_pickle()
    for _ in range(7):
        deep = zip_file({"inner.zip": deep})
    yield Payload("seven ZIPs, one in the other", "x.zip", deep)
    for name, magic in {"7z": b"7z\xbc\xaf\x27\x1c", "zstd": b"\x28\xb5\x2f\xfd", "RAR": b"Rar!\x1a\x07\0"}.items():
        yield Payload(f"a container of the kind {name}", "model.bin", magic + b"\0" * 64)


def harmful() -> Sequence[Payload]:
    """All of them."""
    return [*harmful_pickles(), *harmful_wrappings(), *harmful_models(), *harmful_files()]


def benign() -> Sequence[Payload]:
    """Files as they are published, of all formats."""
    return [*_benign_pickles(), *_benign_models(), *_benign_texts()]


def _benign_pickles() -> Iterator[Payload]:
    values: Mapping[str, object] = {
        "numbers": [1, -2.5, 10**30, True, None, 2j],
        "text": {"a": "ü" * 300, b"raw": bytearray(b"x" * 70_000)},
        "collections": [
            OrderedDict(a=1),
            Counter("abca"),
            defaultdict(list, a=[1]),
            deque([1]),
            {1, 2},
            frozenset({3}),
        ],
        "times": [datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5"), PurePosixPath("a/b")],
        "arrays": {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1.5), "c": np.array(["x", "yy"])},
        "bytes that begin like pickles": [b"\x80\x03" + bytes([i]) * 8 for i in range(256)],
        "objects in an array": np.array([{"a": 1}, "b"], dtype=object),
        "an enumeration of words": {f"word{i}": i for i in range(5_000)},
    }
    for name, value in values.items():
        for protocol in (0, 2, 4, 5):
            yield Payload(f"{name}, protocol {protocol}", "data.pkl", pickle.dumps(value, protocol=protocol))
    state = state_dict_pickle(extra={"epoch": 3, "config": {"lr": 1e-4}})
    yield Payload("PyTorch ZIP", "pytorch_model.bin", torch_zip(state))
    yield Payload("PyTorch ZIP, packed", "model.pt", torch_zip(state, method=zipfile.ZIP_DEFLATED))
    yield Payload("PyTorch stream", "model.pth", torch_stream(state))
    yield Payload(
        "PyTorch optimizer",
        "optimizer.pt",
        torch_zip(state_dict_pickle(extra={"param_groups": [{"lr": 0.1, "betas": (0.9, 0.95)}]})),
    )
    array = np.arange(1_000.0).reshape(10, 100)
    yield Payload("joblib", "scaler.joblib", joblib_file(array))
    yield Payload("joblib of strings", "scaler.joblib", joblib_file(np.array(["a", "bcd"])))
    for name, press in COMPRESSIONS.items():
        yield Payload(f"joblib in {name}", "scaler.joblib", press(joblib_file(array)))
    yield Payload("npy", "a.npy", _npy(array))
    yield Payload("npy of a structure", "s.npy", _npy(np.zeros(3, dtype=[("a", "f4"), ("b", "i8", (2,))])))
    yield Payload("npz", "a.npz", _npz(a=array, b=np.arange(3), c=np.array(["x"])))


def _benign_models() -> Iterator[Payload]:
    yield Payload(
        "safetensors", "model.safetensors", save_safetensors({"w": np.zeros((4, 4), "f4"), "b": np.ones(4, "f2")})
    )
    for rows in range(1, 9):
        named = save_safetensors({f"w{i}": np.zeros(rows, "f4") for i in range(rows * 7)}, {"os.system": "true"})
        yield Payload(f"safetensors with {rows * 7} tensors", "model.safetensors", named)
    yield Payload("GGUF", "model.gguf", gguf_file({"general.name": "x", "tokenizer.chat_template": GOOD_TEMPLATE}))
    yield Payload("ONNX", "model.onnx", onnx_model())
    yield Payload("ONNX with data beside it", "model.onnx", onnx_model("model.onnx_data"))
    yield Payload("ONNX with data in a folder", "onnx/model.onnx", onnx_model("weights/part.bin", where="attribute"))
    yield Payload(
        "TensorFlow", "saved_model.pb", saved_model("Const", "MatMul", "SaveV2", "RestoreV2", function_ops=["Relu"])
    )
    activation = {"module": "keras.activations", "class_name": "function", "config": "gelu", "registered_name": "gelu"}
    layer: Mapping[str, object] = {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"units": 3, "activation": activation},
    }
    yield Payload("Keras", "model.keras", zip_file({"metadata.json": b"{}", "config.json": keras_config(layer)}))
    yield Payload("HDF5", "model.h5", hdf5_file(keras_config(layer)))
    yield Payload("HDF5 of weights only", "model.h5", b"\x89HDF\r\n\x1a\n" + np.arange(512.0).tobytes())
    yield Payload("a packed TAR of texts", "data.tar.gz", tar_file({"a.txt": b"a", "b/c.csv": b"1,2\n"}, "w:gz"))
    yield Payload(
        "a ZIP of texts", "data.zip", zip_file({"a.txt": b"a", "b/": b"", "c.json": b"{}"}, zipfile.ZIP_DEFLATED)
    )
    yield Payload("a picture", "cat.png", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 80)


def _benign_texts() -> Iterator[Payload]:
    texts = {
        "README.md": "# Model\n\nNever call `os.system`, `pickle.loads` or `__class__` on it: !!python/object\n",
        "vocab.txt": "cos\nsystem\nsin\n(\ni\n.\nthe\n",
        "merges.txt": "#version: 0.2\nĠ t\nh e\nin g\n",
        "words.bin.txt": "S'\nV\nI\nN.\n",
        "N.txt": "N.",
        "config.json": json.dumps(
            {"model_type": "llama", "architectures": ["X"], "torch_dtype": "float16", "auto_map": {}}
        ),
        "tokenizer_config.json": json.dumps({"chat_template": GOOD_TEMPLATE, "trust_remote_code": False}),
        "tokenizer.json": json.dumps({"model": {"vocab": {"auto_map": 1, "__class__": 2, "os.system": 3}}}),
        "model_index.json": json.dumps({"_class_name": "P", "unet": ["diffusers", "UNet"], "safety": [None, None]}),
        "modules.json": json.dumps([{"idx": 0, "type": "sentence_transformers.models.Transformer"}]),
        "chat_template.jinja": GOOD_TEMPLATE,
        "modeling.py": "#!/usr/bin/env python\nimport os\nos.system('true')\n",
        "hparams.yaml": "lr: 0.1\nname: x\ntags: [a, b]\n",
        "index.html": "<!DOCTYPE html><p>x</p>",
        "data.csv": "a,b\n1,2\n",
        "data.jsonl": '{"a": 1}\n{"a": 2}\n',
        "LICENSE": "Apache License\nVersion 2.0\n" * 500,
        "ünïcode.txt": "日本語のテキスト" * 9_000,
        "empty.txt": "",
    }
    for path, text in texts.items():
        yield Payload(path, path, text.encode())


# Only named so that pickles of it can be written; nothing starts.
_ = subprocess.Popen
