"""Python programs, parsed and never run: their functions, tests, and what they do to a model."""

import ast
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_TEST_FOLDERS = frozenset({"test", "tests", "testing", "unittests"})
_OPTIMISERS = frozenset(
    [
        "adam",
        "adamw",
        "adamax",
        "nadam",
        "radam",
        "sparseadam",
        "sgd",
        "rmsprop",
        "adagrad",
        "adadelta",
        "adafactor",
        "lamb",
        "lion",
        "lbfgs",
        "rprop",
        "ftrl",
        "prodigy",
        "create_optimizer",
        "get_optimizer",
        "configure_optimizers",
    ]
)
_INFERENCE = frozenset(
    [
        "pipeline",
        "predict",
        "predict_proba",
        "generate",
        "transcribe",
        "evaluate",
        "compute_metrics",
        "infer",
        "inference",
        "inferencesession",
        "from_pretrained",
        "load_model",
        "sentencetransformer",
        "crossencoder",
        "llama",
        "embed",
    ]
)

# `catch_warnings` changes a table of the whole process, and metrics run side by side. Neither does the parser of some
# Pythons know threads: two in it at once end in a SystemError.
_parser_lock = threading.Lock()


@dataclass(frozen=True)
class Function:
    """A function of a program: its lines (1-based, both ends in), and whether it belongs to the program's public face."""

    first_line: int
    last_line: int
    is_public: bool
    is_annotated: bool


def parsed(program: str) -> ast.Module | None:
    """The syntax tree, or `None` for what this Python cannot parse, whatever the reason."""
    with _parser_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(program)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            # Null bytes are a ValueError; deep nesting ends as any of the last two.
            return None


def code_lines(program: str) -> int:
    """Lines that are neither blank nor comment.

    >>> code_lines("import os\\n\\n# why\\nos.getcwd()  # here\\n")
    2
    """
    return sum(1 for line in program.splitlines() if (text := line.strip()) and not text.startswith("#"))


def is_test_path(path: str) -> bool:
    """Whether a file belongs to the tests, by its folder or its name.

    >>> is_test_path("tests/make.py"), is_test_path("src/test_net.py"), is_test_path("src/latest.py")
    (True, True, False)
    """
    at = PurePosixPath(path.lower())
    if not _TEST_FOLDERS.isdisjoint(at.parts[:-1]):
        return True
    return at.stem.startswith("test_") or at.stem.endswith("_test") or at.stem in {"conftest", "test", "tests"}


def functions(tree: ast.Module) -> Sequence[Function]:
    """Every function and method, those inside others too; only those of modules and classes can be public."""
    found: list[Function] = []
    waiting: list[tuple[ast.AST, bool, bool]] = [(tree, True, False)]
    while waiting:
        node, is_open, in_class = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            public = is_open and not node.name.startswith("_")
            annotated = _is_annotated(node, skip_first=in_class and not _is_static(node))
            found.append(Function(node.lineno, node.end_lineno or node.lineno, public, annotated))
            is_open, in_class = False, False
        elif isinstance(node, ast.ClassDef):
            is_open, in_class = is_open and not node.name.startswith("_"), True
        waiting.extend((child, is_open, in_class) for child in ast.iter_child_nodes(node))
    return sorted(found, key=lambda function: (function.first_line, function.last_line))


def asserting_tests(tree: ast.Module) -> int:
    """Test functions that can fail: an `assert` of more than a constant, or a call that asserts."""
    return sum(
        1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test")
        and any(_asserts(inner) for inner in ast.walk(node))
    )


def trains(tree: ast.Module) -> bool:
    """Whether the program makes an optimiser or a trainer, or fits a model."""
    for node, name in _calls(tree):
        if name.endswith("trainer") or name in _OPTIMISERS:
            return True
        if isinstance(node.func, ast.Attribute) and (
            name in {"fit", "fit_one_cycle", "train_model"} or _is_optim(node.func)
        ):
            return True
        if name == "backward" and not node.args and isinstance(node.func, ast.Attribute):
            return True
    return False


def infers(tree: ast.Module) -> bool:
    """Whether the program loads, asks or evaluates a model."""
    for node, name in _calls(tree):
        if name in _INFERENCE or name.startswith("evaluate_"):
            return True
        if not isinstance(node.func, ast.Attribute):
            continue
        # `model.eval()` takes no argument; the builtin of that name always does. Text has `encode` too.
        if (name == "eval" and not node.args) or (
            name == "encode" and "model" in ast.dump(node.func.value).lower()[:500]
        ):
            return True
    return False


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _called(node)):
            yield node, name.lower()


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _is_optim(function: ast.Attribute) -> bool:
    """Whether it is `optim.X(…)` or `torch.optim.X(…)` with a class X."""
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return name in {"optim", "optimizers"} and function.attr[:1].isupper()


def _asserts(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant)
    if isinstance(node, ast.Call):
        name = _called(node)
        return name.lower().startswith("assert") or name in {"raises", "warns", "fail"}
    return False


def _is_static(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in function.decorator_list)


def _is_annotated(function: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool) -> bool:
    of = function.args
    plain = [*of.posonlyargs, *of.args][1 if skip_first else 0 :]
    starred = [one for one in (of.vararg, of.kwarg) if one]
    return function.returns is not None and all(one.annotation for one in [*plain, *of.kwonlyargs, *starred])
