"""Code on a model card: what kind it is, whether it parses, whether it loads this model, and its mechanical repairs.

Nothing here runs, imports or compiles a snippet; Python is parsed into a tree and read.
"""

import ast
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from textwrap import dedent
from types import MappingProxyType

from weighhouse.rules.cards import CodeBlock
from weighhouse.rules.manifest import Component, component_of
from weighhouse.rules.programs import parsed
from weighhouse.rules.weights import is_weight

MAX_SNIPPET_CHARACTERS = 1 << 16
"""A longer block is not a demonstration and is not parsed."""

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("text", "prompt", "sentence", "inputs"), '"A sample sentence."'),
        **dict.fromkeys(("image", "img"), '__import__("PIL.Image").Image.new("RGB", (224, 224))'),
        **dict.fromkeys(("audio", "speech"), "[0.0] * 16000"),
        "device": '"cpu"',
    }
)
"""Names that a card leaves to its reader, and the fixed samples that stand for them (metrics specification, section 9)."""


class Kind(StrEnum):
    """What a block of code is written in; `OTHER` is code that this module cannot parse."""

    PYTHON = "python"
    SHELL = "shell"
    OTHER = "other"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PYTHON = _words("python py python3 py3 pycon ipython ipython3 python-repl")
_SHELL = _words("bash sh shell zsh fish console shell-session shellsession terminal cmd bat powershell ps1")
_OTHER = _words(
    "js javascript mjs ts typescript jsx tsx node java kotlin swift c cpp c++ cs csharp go rust rs ruby rb r julia jl scala php "
    "dart lua objective-c objc dockerfile"
)
_COMMANDS = _words(
    "pip pip3 python python3 conda mamba uv uvx pipx poetry npm npx yarn brew apt apt-get docker podman git wget curl cmake make "
    "cargo ollama vllm llama-cli llama-server llama-cpp llamafile lms hf huggingface-cli mlx_lm.generate mlx_lm.chat accelerate "
    "torchrun sudo cd export"
)
# Naming a file to these does not make the model do anything.
_NOT_RUNNERS = _words(
    "ls echo cat cd cp mv rm mkdir touch tree du df file stat head tail less more printf pwd chmod md5sum sha256sum wget curl git "
    "tar unzip zip scp rsync export source pip pip3"
)
_PYTHON_LINE = re.compile(r"^[ \t]*(?:>>> )?(?:import \w|from [\w.]+ import |def \w+\(|class \w)", re.MULTILINE)
_PROMPT = re.compile(r"^\s*(?:>>>|\.\.\.)(?: |$)")

# Calls that only look at a string. Naming the model to them loads nothing.
_IDLE_CALLS = _words(
    "print len str repr format isinstance type input id hash exit quit dict list tuple set bool sorted min max sum any all "
    "enumerate zip map filter getattr setattr hasattr iter next range help dir vars display join split replace strip append "
    "extend insert add add_argument update startswith endswith lower upper info debug warning error critical exception log write"
)
_NOT_THE_MODEL = re.compile(
    r"(?:\.(?:md|rst|txt|csv|tsv|jsonl|parquet|png|jpe?g|gif|svg|wav|mp3|flac|mp4|pdf)|(?:^|/)license)$"
)


class Names:
    """The strings by which code can name one model: its id, and the paths of its package.

    Args:
        model_id: The id; with a `/` it is also found inside an address.
        paths: Every path in the package. Documents, pictures and data sets are left out: opening them loads no model.
    """

    def __init__(self, model_id: str, paths: Collection[str]) -> None:
        self._id = model_id.lower()
        self._id_inside = re.compile(rf"(?<![\w.-]){re.escape(self._id)}(?![\w-]|\.\w)") if "/" in model_id else None
        weights = [path for path in paths if is_weight(path)]
        self._weight_names = {path.rpartition("/")[2] for path in weights}
        self._paths = {path for path in paths if _can_be_the_model(path)}
        self._paths |= {path.rpartition("/")[0] for path in weights if "/" in path}

    def model(self, text: str) -> bool:
        """Whether `text`, a string or a word of a command, is the id, holds it in an address, or is a path of the package."""
        if not text or len(text) > 1_000 or any(character.isspace() for character in text):
            return False
        lower = text.lower()
        if lower == self._id or (self._id_inside is not None and self._id_inside.search(lower) is not None):
            return True
        return self.file(text)

    def file(self, text: str) -> bool:
        """Whether `text` is a path of the package, or ends in the name of one of its weight files."""
        path = text.removeprefix("./").rstrip("/")
        return path in self._paths or path.rpartition("/")[2] in self._weight_names


def _can_be_the_model(path: str) -> bool:
    return component_of(path) is not Component.DATASETS and not _NOT_THE_MODEL.search(path.lower())


def kind_of(block: CodeBlock) -> Kind | None:
    """What a block is written in; `None` when it is no code: a citation, output, data.

    An untagged block is Python when it parses and does something, shell when it begins like a command.
    """
    if block.language in _PYTHON:
        return Kind.PYTHON
    if block.language in _SHELL:
        return Kind.SHELL
    if block.language:
        return Kind.OTHER if block.language in _OTHER else None
    tree = parse(repaired(block.text))
    if (tree is not None and _does_something(tree)) or _PYTHON_LINE.search(block.text):
        return Kind.PYTHON
    commands = shell_commands(block.text)
    if commands and any(_begins_a_command(words[0]) for words in commands):
        return Kind.SHELL
    return None


def parse(program: str) -> ast.Module | None:
    """The tree of a Python program; `None` when it does not parse."""
    if len(program) > MAX_SNIPPET_CHARACTERS:
        return None
    return parsed(program)


def repaired(text: str) -> str:
    """`text` after as many of the static repairs as make it parse: prompts and output, `!` and `%` lines, indentation.

    The text as it stands comes first; when nothing helps, the last repair is answered.

    >>> repaired(">>> 1 + 1\\n2\\n")
    '1 + 1\\n'
    """
    program = text
    if len(text) > MAX_SNIPPET_CHARACTERS:
        return text
    for repair in (_keep, _without_prompts, _without_magics, dedent):
        program = repair(program)
        if parse(program) is not None:
            return program
    return program


def mended(program: str, *, model_id: str, package_path: str, undefined: Sequence[str]) -> str:
    """A repaired program made to run in the sandbox: this package for the model's id, no GPU, samples for open names.

    Args:
        package_path: Where the sandbox mounts the package.
        undefined: Names that the program uses and never binds.
    """
    program = re.sub(rf"(['\"]){re.escape(model_id)}\1", lambda _: repr(package_path), program)
    program = re.sub(r"(['\"])cuda(?::\d+)?\1", '"cpu"', program).replace(".cuda()", ".cpu()")
    samples = [f"{name} = {PLACEHOLDERS[name]}" for name in undefined if name in PLACEHOLDERS]
    return "\n".join([*samples, program])


def loads(tree: ast.Module, names: Names, variables: Collection[str]) -> bool:
    """Whether some call is given the model: its id or a path of the package, as a string or through a variable.

    Args:
        variables: Those that stand for the model, from `variables_of` this program and those before it.
    """

    def is_model(node: ast.AST) -> bool:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return names.model(node.value)
        return isinstance(node, ast.Name) and node.id in variables

    return any(
        is_model(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _called_name(call) not in _IDLE_CALLS
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        for node in ast.walk(argument)
    )


def names_model(block: CodeBlock, names: Names) -> bool:
    """Whether a block parses and names the model, wherever in it."""
    kind = kind_of(block)
    if kind is Kind.PYTHON:
        tree = parse(repaired(block.text))
        return tree is not None and _does_something(tree) and any(map(names.model, _strings(tree)))
    if kind is Kind.SHELL:
        return any(names.model(word) for words in shell_commands(block.text) or () for word in _values(words))
    return False


def runs_a_file(block: CodeBlock, names: Names) -> bool:
    """Whether a block of shell gives a file of the package to a command that can run it."""
    return kind_of(block) is Kind.SHELL and any(
        any(names.file(word) for word in _values(words)) and words[0].rpartition("/")[2] not in _NOT_RUNNERS
        for words in shell_commands(block.text) or ()
    )


def shell_commands(text: str) -> Sequence[Sequence[str]] | None:
    """The words of each command in a block of shell, prompts and comments left out; `None` when it does not parse."""
    if len(text) > MAX_SNIPPET_CHARACTERS:
        return None
    lines = text.replace("\\\n", " ").splitlines()
    prompted = [line.lstrip()[2:] for line in lines if line.lstrip().startswith("$ ")]
    try:
        split = [shlex.split(line, comments=True) for line in prompted or lines]
    except ValueError:
        return None
    return [command for words in split for command in _commands(words) if command]


def _commands(words: Sequence[str]) -> list[list[str]]:
    """The commands of one line: `a && b | c` is three."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "||", "|", ";"):
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def _values(words: Sequence[str]) -> list[str]:
    """Words of a command, `--option=value` taken apart."""
    return [part for word in words for part in (word, word.partition("=")[2]) if part]


def _begins_a_command(word: str) -> bool:
    return word.removeprefix("!") in _COMMANDS or word.startswith("./")


def _keep(text: str) -> str:
    return text


def _without_prompts(text: str) -> str:
    """`text` without prompts, and without the output between them."""
    lines = text.splitlines()
    if not any(line.lstrip().startswith(">>>") for line in lines):
        return text
    return "".join(f"{_PROMPT.sub('', line)}\n" for line in lines if _PROMPT.match(line))


def _without_magics(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(("!", "%")))


def _does_something(tree: ast.Module) -> bool:
    """Whether there is a call or an import: `owner/name` alone parses as a division."""
    return any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree))


def _strings(tree: ast.Module) -> list[str]:
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _called_name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def variables_of(tree: ast.Module, names: Names) -> set[str]:
    """The variables that the program binds directly to a string that names the model."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) and names.model(node.value.value)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
