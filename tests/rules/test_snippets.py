"""Code on cards: kinds, repairs, and what counts as loading the model."""

import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighhouse.rules import programs, snippets
from weighhouse.rules.cards import CodeBlock
from weighhouse.rules.snippets import (
    PLACEHOLDERS,
    Kind,
    Names,
    kind_of,
    loads,
    mended,
    names_model,
    parse,
    repaired,
    runs_a_file,
    variables_of,
)

NAMES = Names("acme/tiny", ["config.json", "README.md", "data/train.csv", "gguf/tiny.Q4.gguf", "run.py"])


def block(text: str, language: str = "") -> CodeBlock:
    return CodeBlock(language, text, fenced=True)


@pytest.mark.parametrize(
    ("language", "text", "kind"),
    [
        ("python", "x = (", Kind.PYTHON),
        ("py", "", Kind.PYTHON),
        ("bash", "ls", Kind.SHELL),
        ("js", "let x", Kind.OTHER),
        ("json", "{}", None),
        ("bibtex", "@article{a}", None),
        ("output", "f()", None),
        ("", "import torch", Kind.PYTHON),
        ("", ">>> f(1)\n2", Kind.PYTHON),
        ("", "import torch\nx = (", Kind.PYTHON),
        ("", "$ pip install x", Kind.SHELL),
        ("", "./main -m x.gguf", Kind.SHELL),
        ("", "acme/tiny", None),
        ("", "@article{a, title={b}}", None),
        ("", '{"a": 1}', None),
        ("", "Paris is the capital of France.", None),
    ],
)
def test_a_block_is_known_by_its_tag_or_by_what_it_does(language: str, text: str, kind: Kind | None) -> None:
    assert kind_of(block(text, language)) is kind


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("f(1)\n", "f(1)\n"),
        (">>> for a in b:\n...     f(a)\n...\n1\n2\n", "for a in b:\n    f(a)\n\n"),
        ("!pip install x\n%matplotlib inline\nf(1)\n", "f(1)\n"),
        ("    f(1)\n    g(2)\n", "f(1)\ng(2)\n"),
        ("  >>> f(1)\n  >>> !pip\n", "f(1)\n"),
        ("x = 100\\\n% 7\n", "x = 100\\\n% 7\n"),
    ],
)
def test_repairs_are_mechanical_and_no_more_than_needed(text: str, program: str) -> None:
    assert repaired(text) == program
    assert parse(program) is not None


@pytest.mark.parametrize(
    "text", ["(" * 10_000, "-" * 100_000 + "1", "x\0", "\ud800", "f(", "a = " + "1+" * 30_000 + "1"]
)
def test_what_cannot_be_parsed_is_no_failure(text: str) -> None:
    assert repaired(text) is not None
    assert parse(text) is None or isinstance(parse(text), ast.Module)


@pytest.mark.parametrize(
    ("program", "loaded"),
    [
        ("pipeline('text', model='acme/tiny')", True),
        ("m = 'acme/tiny'\nModel.from_pretrained(m)", True),
        ("Model.from_pretrained('ACME/tiny')", True),
        ("Llama('./gguf/tiny.Q4.gguf')", True),
        ("Llama(os.path.join(folder, 'tiny.Q4.gguf'))", True),
        ("load('gguf')", True),
        ("get('https://hub.example/acme/tiny/resolve/main/config.json')", True),
        ("Model.from_pretrained('acme/tiny-large')", False),
        ("Model.from_pretrained('other/acme/tiny.v2')", False),
        ("Model.from_pretrained('acme/other')", False),
        ("print('acme/tiny')", False),
        ("logger.info('acme/tiny')", False),
        ("'acme/tiny'", False),
        ("f('a text about acme/tiny')", False),
        ("open('README.md')", False),
        ("read_csv('data/train.csv')", False),
        ("print(load('acme/tiny'))", True),
    ],
)
def test_only_a_call_that_is_given_the_model_loads_it(program: str, loaded: bool) -> None:
    tree = parse(program)
    assert tree is not None
    assert loads(tree, NAMES, variables_of(tree, NAMES)) is loaded


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("llama-cli -m tiny.Q4.gguf -p hi", True),
        ("$ ./main \\\n  --model=models/tiny.Q4.gguf", True),
        ("cd x && ./main -m tiny.Q4.gguf", True),
        ("python run.py", True),
        ("ls tiny.Q4.gguf", False),
        ("wget https://hub.example/tiny.Q4.gguf", False),
        ("llama-cli -m other.gguf", False),
        ("# llama-cli -m tiny.Q4.gguf", False),
        ("llama-cli -m 'tiny.Q4.gguf", False),
    ],
)
def test_a_command_runs_a_file_that_is_in_the_package(command: str, runs: bool) -> None:
    assert runs_a_file(block(command, "bash"), NAMES) is runs


def test_naming_takes_code_and_not_only_the_name() -> None:
    assert names_model(block("import x\nm = 'acme/tiny'", "python"), NAMES)
    assert names_model(block("vllm serve acme/tiny", "bash"), NAMES)
    assert not names_model(block("'acme/tiny'", "python"), NAMES)
    assert not names_model(block("acme/tiny"), NAMES)


def test_a_mended_program_needs_neither_hub_nor_gpu_nor_reader() -> None:
    program = "m = load('acme/tiny').to('cuda:0').cuda()\nm(image, text, other)\n"
    text = mended(program, model_id="acme/tiny", package_path="/package", undefined=["image", "text", "other"])
    assert text.splitlines()[2:] == ["m = load('/package').to(\"cpu\").cpu()", "m(image, text, other)"]
    assert text.splitlines()[:2] == [f"{name} = {PLACEHOLDERS[name]}" for name in ("image", "text")]
    assert parse(text) is not None


@given(st.text(max_size=200), st.sampled_from(["", "python", "bash", "js"]))
def test_any_text_is_a_block(text: str, language: str) -> None:
    one = block(text, language)
    assert kind_of(one) is kind_of(one)
    assert not (
        names_model(one, NAMES) and "tiny" not in text.lower() and "config" not in text and "run.py" not in text
    )
    assert isinstance(runs_a_file(one, NAMES), bool)


def test_snippets_and_programs_are_parsed_side_by_side() -> None:
    # The parser of some Pythons counts its depth for all threads together, and fails when another one is in it. It lets
    # others in when objects are collected meanwhile that let others in.
    class Litter:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            time.sleep(0.0001)

    program = "".join(f"x{number} = [{number}, (lambda: {{'a': {number}}})()]\n" for number in range(300))

    def parse_all(number: int) -> bool:
        for _ in range(20):
            Litter()
        return (snippets.parse(program) if number % 2 else programs.parsed(program)) is not None

    thresholds = gc.get_threshold()
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(parse_all, range(60)))
    finally:
        gc.set_threshold(*thresholds)
