"""Pickles of NumPy arrays, as in Detectron2's model zoo."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mvit_det import build_mvit
from mvit_det.errors import InputError
from mvit_det.weights.reading import read_file


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_read_to_the_bit(protocol, tmp_path, randomize):
    state = randomize(build_mvit("mvitv2_nano")).state_dict()
    arrays = OrderedDict((key, weight.numpy()) for key, weight in state.items())
    key = "blocks.0.mlp.fc1.weight"
    arrays[key] = np.asfortranarray(arrays[key])
    content = {"model": arrays, "__author__": "zoo", "iteration": np.int64(7), "lr": np.float32(0.5)}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps(content, protocol))
    content = read_file(tmp_path / "model_final.pkl")
    weights = content.pop("model")
    assert content == {"__author__": "zoo", "iteration": 7, "lr": 0.5}
    assert weights.keys() == state.keys()
    for key, weight in weights.items():
        assert torch.equal(weight, state[key]), key


@pytest.mark.parametrize("protocol", [2, 5])
def test_every_type_of_numbers_is_read(protocol, tmp_path):
    arrays = {
        code: np.array([[0, 1, 1], [1, 0, 1]], code) for code in ("f2", "f8", "i1", "i2", "i8", "u1", "b1")
    }
    arrays |= {"empty": np.zeros((2, 0)), "scalar": np.array(3.5)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol))
    for name, tensor in read_file(tmp_path / "a.pkl").items():
        assert tensor.numpy().dtype == arrays[name].dtype
        assert tensor.numpy().shape == arrays[name].shape
        assert (tensor.numpy() == arrays[name]).all()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(2, "c8"), "an array of type 'c8'; expected one of f2, f4"),
        (np.array(["a"]), "an array of type 'U1'"),
        (np.zeros(2, ">f4"), "big-endian numbers"),
    ],
)
def test_other_arrays_are_refused(array, words, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": array}))
    with pytest.raises(InputError, match=f"a.pkl: holds {words}"):
        read_file(tmp_path / "a.pkl")


def test_an_array_without_data_and_deep_containers_are_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02}X\x01\0\0\0acnumpy.core.multiarray\n_reconstruct\n)Rs.")
    with pytest.raises(InputError, match=r"a.pkl: is a damaged pickle: an array has no data"):
        read_file(path)
    path.write_bytes(b"\x80\x02}X\x01\0\0\0a" + b"]" * 30 + b"a" * 29 + b"s.")
    with pytest.raises(InputError, match=r"a.pkl: is refused: its containers are nested more than 20 levels"):
        read_file(path)
