import json

import pytest
import torch

from mvit_det import build_mvit
from mvit_det.errors import InputError
from mvit_det.weights import read_checkpoint, save_for_detectron2, save_weights


@pytest.mark.parametrize(("save", "name"), [(save_weights, "a.safetensors"), (save_for_detectron2, "a.pth")])
def test_saved_weights_and_their_configuration_are_read_again(save, name, tmp_path, assert_same_weights):
    weights = build_mvit("mvitv2_nano").state_dict()
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].transpose(2, 3)
    save(weights, tmp_path / "new" / name, {"variant": "mvitv2_nano"})
    checkpoint = read_checkpoint(tmp_path / "new" / name)
    assert_same_weights(dict(sorted(checkpoint.weights.items())), dict(sorted(weights.items())))
    assert checkpoint.metadata == {"mvit_det": {"variant": "mvitv2_nano"}}


def test_a_damaged_configuration_is_refused(tmp_path):
    save_weights(build_mvit("mvitv2_nano").state_dict(), tmp_path / "a.safetensors", {})
    for text, words in (
        ("{", "cannot be read as JSON"),
        (json.dumps([1]), "holds a list; expected a JSON object"),
    ):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=f"a.json: {words}"):
            read_checkpoint(tmp_path / "a.safetensors")


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "a.pth").mkdir()
    with pytest.raises(InputError, match=r"a.pth: cannot be written"):
        save_for_detectron2({"a": torch.zeros(1)}, tmp_path / "a.pth", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
