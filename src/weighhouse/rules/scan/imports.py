"""What a pickle may import: exact names that hold data and run nothing else. Whatever is not listed is judged by its home."""

import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Mapping

from weighhouse.rules.scan.verdict import Level


def _pairs(listing: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((module, name) for module, names in listing.items() for name in names.split())


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMPY = "_reconstruct scalar"
_TORCH_TYPES = (
    "float16 float32 float64 bfloat16 half float double int8 int16 int32 int64 uint8 uint16 uint32 uint64 short int long"
    " bool complex32 complex64 complex128 cfloat cdouble quint8 qint8 qint32 quint4x2 quint2x4 float8_e4m3fn"
    " float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz strided sparse_coo sparse_csr contiguous_format channels_last"
    " per_tensor_affine per_channel_affine"
    " FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage ByteStorage"
    " BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage QInt32Storage QUInt8Storage QUInt4x2Storage"
    " UntypedStorage Size device dtype Tensor FloatTensor DoubleTensor HalfTensor BFloat16Tensor LongTensor IntTensor"
    " ShortTensor CharTensor ByteTensor BoolTensor"
)

ALLOWED = _pairs(
    {
        "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
        "collections": "Counter OrderedDict defaultdict deque",
        "_codecs": "encode",
        "copyreg": "_reconstructor __newobj__",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "uuid": "UUID",
        "argparse": "Namespace",
        "types": "SimpleNamespace",
        "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
        "numpy": "dtype ndarray bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
        " complex64 complex128 str_ bytes_ datetime64 timedelta64 longlong intc",
        "numpy.core.multiarray": _NUMPY,
        "numpy._core.multiarray": _NUMPY,
        "numpy.core.numeric": "_frombuffer",
        "numpy._core.numeric": "_frombuffer",
        "numpy.dtypes": "Float32DType Float64DType Int64DType Int32DType UInt32DType UInt8DType BoolDType",
        "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
        "numpy.random._mt19937": "MT19937",
        "numpy.random._pcg64": "PCG64",
        "numpy.ma.core": "_mareconstruct MaskedArray",
        "scipy.sparse._csr": "csr_matrix csr_array",
        "scipy.sparse._csc": "csc_matrix csc_array",
        "scipy.sparse._coo": "coo_matrix coo_array",
        "scipy.sparse.csr": "csr_matrix",
        "scipy.sparse.csc": "csc_matrix",
        "joblib.numpy_pickle": "NumpyArrayWrapper",
        "torch": _TORCH_TYPES,
        "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter"
        " _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor"
        " _rebuild_meta_tensor_no_storage _rebuild_device_tensor_from_numpy",
        "torch._tensor": "_rebuild_from_type_v2",
        "torch.storage": "UntypedStorage TypedStorage",
        "torch.serialization": "_get_layout",
        "torch.nn.parameter": "Parameter Buffer UninitializedParameter",
        "torch.jit._pickle": "build_boollist build_doublelist build_intlist build_tensorlist build_tensor_from_id"
        " restore_type_tag",
        "torch.cuda": "FloatStorage HalfStorage DoubleStorage LongStorage IntStorage ByteStorage BoolStorage"
        " BFloat16Storage",
    }
)

# Not to decide, only to say more: what is not allowed is judged without this table.
_ACTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("os", "posix", "nt", "subprocess", "_posixsubprocess", "pty", "commands", "popen2"), "runs commands"
    ),
    **dict.fromkeys(
        ("socket", "urllib", "http", "ftplib", "smtplib", "requests", "httpx", "aiohttp"), "uses the network"
    ),
    **dict.fromkeys(("shutil", "io", "_io", "tempfile", "zipfile", "tarfile"), "touches files"),
    **dict.fromkeys(
        ("builtins", "runpy", "code", "codeop", "timeit", "cProfile", "profile", "pdb", "bdb"), "can run any code"
    ),
    **dict.fromkeys(("importlib", "pkgutil", "imp", "zipimport", "pydoc", "pip", "ensurepip"), "loads other code"),
    **dict.fromkeys(("pickle", "_pickle", "marshal", "dill", "cloudpickle", "shelve"), "unpickles more"),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi", "mmap"), "reaches native code"),
    **dict.fromkeys(("operator", "_operator", "functools", "_functools", "types"), "builds calls of other functions"),
}
_LIBRARIES = _words(
    "numpy scipy sklearn pandas joblib torch torchvision torchaudio pytorch_lightning lightning lightning_fabric tensorflow"
    " keras tf_keras jax jaxlib flax optax transformers diffusers accelerate peft datasets tokenizers huggingface_hub xgboost"
    " lightgbm catboost ultralytics fairseq omegaconf hydra deepspeed apex megatron spacy nltk gensim timm safetensors"
    " sentence_transformers onnx onnxruntime fastai statsmodels category_encoders imblearn networkx PIL cv2"
)
_SUSPECTS = frozenset({("torch.storage", "_load_from_bytes"), ("numpy", "core.multiarray._reconstruct")})
_OWN_STANDARD = sys.stdlib_module_names | {
    "__builtin__",
    "__main__",
    "commands",
    "copy_reg",
    "nt",
    "posix",
    "pip",
    "setuptools",
}
_LEGACY: Mapping[tuple[str, str], tuple[str, str]] = NAME_MAPPING


def judge_import(module: str, name: str) -> tuple[Level, str]:
    """How a pickle's import is judged, and why.

    >>> judge_import("collections", "OrderedDict")[0]
    <Level.SAFE: 'safe'>
    >>> judge_import("posix", "system")
    (<Level.UNSAFE: 'unsafe'>, 'runs commands')
    """
    # Python 3 renames what pickles of Python 2 import; the loader does so too.
    module, name = _LEGACY.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    if (module, name) in ALLOWED:
        return Level.SAFE, "is data"
    root = module.partition(".")[0]
    act = _ACTS.get(root)
    if root in _OWN_STANDARD:
        return Level.UNSAFE, act or "belongs to Python itself and is not data"
    if act:
        return Level.UNSAFE, act
    if root not in _LIBRARIES or (module, name) in _SUSPECTS:
        return Level.SUSPICIOUS, "is not known to be data only"
    if "." in name:
        return Level.UNSAFE, "reaches inside a library by a dotted name"
    if name.lstrip("_")[:1].isupper() or name.startswith("__pyx_unpickle_"):
        return Level.SUSPICIOUS, "is a class of a known library whose code runs when it is loaded"
    return Level.UNSAFE, "is a function of a known library and not one that only rebuilds data"
