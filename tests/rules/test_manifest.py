import pytest

from weighhouse.rules.manifest import (
    Component,
    ComponentsMissing,
    File,
    component_of,
    digest,
    in_order,
    select,
    variant_name,
)

W, D, C, O = Component.WEIGHTS, Component.DATASETS, Component.CODE, Component.OTHER  # noqa: E741


def file(path: str, size_bytes: int = 1, sha256: str = "ab" * 32) -> File:
    return File(path, size_bytes, sha256, 7, component_of(path))


@pytest.mark.parametrize(
    ("component", "paths"),
    [
        (
            W,
            "model.safetensors model-00001-of-00002.safetensors PYTORCH_MODEL.BIN training_args.bin optimizer.pt a.pth a.ckpt "
            "q4.gguf a.ggml model.onnx model.onnx_data model.onnx.data model.onnx_data_1 saved_model.pb a.tflite a.h5 a.hdf5 "
            "variables/variables.data-00000-of-00001 variables/variables.index model.ckpt-12.index model.ckpt-12.meta "
            "model.ckpt-12.data-00000-of-00002 a.keras a.joblib clf.pkl a.pickle emb.npy emb.npz flax_model.msgpack "
            "a.mlmodel a.pte a.engine a.llamafile tokenizer/model.safetensors tokenizer.safetensors vae/weights.pt",
        ),
        (
            D,
            "train.csv train.TSV a.parquet a.arrow a.jsonl a.jsonl.gz train.csv.gz a.ndjson a.feather a.tfrecord shard-0001.tar "
            "a.tfrecord-00000-of-00010 data/notes.txt data/README.md datasets/a/b.json mymodel/data/images/1.png Data/x.bin",
        ),
        (
            C,
            "train.py src/data/loader.py data/prepare.ipynb run.sh a.c a.cc a.cpp k.cu a.h a.hpp A.java a.js a.ts a.go a.rs a.rb "
            "a.jl a.R a.cs a.kt a.swift a.scala a.lua q.sql Dockerfile docker/Dockerfile.gpu Makefile tokenizer.py",
        ),
        (
            O,
            "README.md config.json config.yaml requirements.txt LICENSE tokenizer.json tokenizer.model vocab.txt merges.txt "
            "spiece.model vocab.pkl my_tokenizer.bin vocab.tsv model.safetensors.index.json data datasets mydata/x.txt "
            "image.png .gitattributes checkpoint special_tokens_map.json",
        ),
    ],
)
def test_the_name_of_a_file_tells_its_component(component: Component, paths: str) -> None:
    assert {path: str(component_of(path)) for path in paths.split()} == dict.fromkeys(paths.split(), str(component))


def test_every_component_download_holds_the_other_files() -> None:
    files = [file("a.safetensors"), file("train.csv"), file("README.md"), file("a.py")]
    chosen = select(files, {C, W})
    assert [f.path for f in chosen.files] == ["a.safetensors", "README.md", "a.py"]
    assert (chosen.included, chosen.missing) == ((W, C), ())


def test_a_download_of_the_whole_package_names_what_is_really_in_it() -> None:
    chosen = select([file("README.md"), file("a.safetensors")], set())
    assert (len(chosen.files), chosen.included, chosen.missing) == (2, (W,), ())
    assert select([file("README.md")], set()).included == ()


def test_a_component_that_lacks_is_told_beside_those_that_do_not() -> None:
    chosen = select([file("README.md"), file("a.safetensors")], {D, W})
    assert (chosen.included, chosen.missing) == ((W,), (D,))


def test_a_download_of_nothing_but_missing_components_is_refused() -> None:
    with pytest.raises(ComponentsMissing) as caught:
        select([file("README.md"), file("a.safetensors")], {D, C})
    assert caught.value.members == {"components_missing": ["datasets", "code"]}
    assert "no datasets and no code" in caught.value.detail


@pytest.mark.parametrize(
    ("components", "name"),
    [
        ((), "package.zip"),
        ((W, D, C), "package.zip"),
        ((W,), "weights.zip"),
        ((C, W), "weights-code.zip"),
        ((C, D), "datasets-code.zip"),
    ],
)
def test_a_variant_is_named_for_its_components_in_order(components: tuple[Component, ...], name: str) -> None:
    assert variant_name(components) == name


def test_a_digest_changes_with_path_size_and_content_and_not_with_order() -> None:
    files = [file("b.txt"), file("a.txt", 5)]
    assert digest(files) == digest(files[::-1])
    others = [
        [file("b.txt"), file("a.txt", 6)],
        [file("b.txt"), file("a.txt", 5, "cd" * 32)],
        [file("b.txt"), file("A.txt", 5)],
        files[:1],
        [],
    ]
    assert len({digest(other) for other in [files, *others]}) == 6


def test_a_digest_stays_from_release_to_release() -> None:
    assert (
        digest([file("b.txt"), file("a.txt", 5)]) == "9e30a8de0d125f91f62c2c2b418246f7166143cb6ca2978aaff9ada45bf14a55"
    )


def test_files_are_in_the_order_of_their_bytes() -> None:
    paths = ["é", "z", "Z", "a/b", "a.b", "\U0001f600", "\uffee"]
    assert [f.path for f in in_order(map(file, paths))] == sorted(paths, key=lambda path: path.encode())
