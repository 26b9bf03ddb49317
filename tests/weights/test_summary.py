import torch

from mvit_det import build_classifier
from mvit_det.weights.formats import mvitv2
from mvit_det.weights.summary import inspect


def test_a_summary_has_the_model_its_sizes_and_its_training(tmp_path):
    classifier = build_classifier("mvitv2_nano", 10, dim_mul_in_att=False, class_token=True, use_abs_pos=True)
    config = "TRAIN:\n  DATASET: imagenet\n  BATCH_SIZE: 256\nSOLVER:\n  MAX_EPOCH: 300\n  GAMMA: 0.1\n"
    weights = mvitv2.from_our_names(classifier.state_dict())
    path = tmp_path / "a.pyth"
    torch.save({"model_state": weights, "epoch": 299, "cfg": config, "note": "Größe\x1b[31m"}, path)
    num_values = sum(weight.numel() for weight in weights.values())
    num_others = 256 * 10 + 10 + 2 * 256 + 32  # of the head, the norm and the class token
    assert inspect(path).splitlines() == [
        f"{path}: mvitv2_nano, classifier, 10 classes (the MViTv2 repository)",
        f"  {num_values:,} numbers in {len(weights)} tensors (float32), "
        f"{num_values - num_others:,} of them in the backbone",
        '  backbone: build_mvit("mvitv2_nano", dim_mul_in_att=False)',
        "  absolute positions: 3137 tokens",
        "  with a class token",
        "  epoch: 299",
        "  DATASET: 'imagenet'",
        "  BATCH_SIZE: '256'",
        "  MAX_EPOCH: '300'",
        "  note: 'Größe\\x1b[31m'",
    ]
