"""Which weight files of a repository are left out: the same weights in an older format, and nothing else."""

import pytest

from weighhouse.rules.hub_files import repeated_weights


@pytest.mark.parametrize(
    ("sizes", "left_out"),
    [
        ({"model.safetensors": 100, "pytorch_model.bin": 100, "tf_model.h5": 100, "flax_model.msgpack": 100}, 3),
        ({"model.safetensors": 50, "pytorch_model.bin": 100}, 1),
        ({"model.safetensors": 10, "pytorch_model.bin": 100}, 0),
        ({"pytorch_model.bin": 100, "tf_model.h5": 100}, 0),
        ({"model.safetensors": 100, "sub/pytorch_model.bin": 100}, 0),
        ({"model.safetensors": 100, "model.gguf": 100, "model.onnx": 100}, 0),
        ({"model.safetensors": 100, "optimizer.pt": 200, "training_args.bin": 5}, 0),
        ({"model-00001-of-00002.safetensors": 100, "pytorch_model.bin": 100}, 0),
        ({}, 0),
    ],
)
def test_only_what_complete_safetensors_beside_it_hold_is_left_out(sizes: dict[str, int], left_out: int) -> None:
    assert len(repeated_weights(sizes)) == left_out


def test_shards_go_with_their_list() -> None:
    sizes = {
        "model-00001-of-00002.safetensors": 50,
        "model-00002-of-00002.safetensors": 50,
        "model.safetensors.index.json": 1,
        "pytorch_model-00001-of-00002.bin": 50,
        "pytorch_model-00002-of-00002.bin": 50,
        "pytorch_model.bin.index.json": 1,
        "other/pytorch_model.bin.index.json": 1,
    }
    assert repeated_weights(sizes) == {
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "pytorch_model.bin.index.json",
    }


def test_each_part_of_a_pipeline_is_looked_at_in_its_own_folder() -> None:
    sizes = {
        "model_index.json": 1,
        "unet/diffusion_pytorch_model.safetensors": 100,
        "unet/diffusion_pytorch_model.bin": 100,
        "safety_checker/pytorch_model.bin": 40,
    }
    assert repeated_weights(sizes) == {"unet/diffusion_pytorch_model.bin"}
