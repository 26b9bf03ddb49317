from pathlib import Path

from mvit_det.weights import identify_checkpoint, to_detectron2
from mvit_det.weights.formats import detectron2


def test_a_backbone_gets_the_prefix_once(classifier_weights):
    written = detectron2.from_our_names(classifier_weights)
    assert list(written) == [f"backbone.bottom_up.{key}" for key in classifier_weights]
    assert list(detectron2.from_our_names(written)) == list(written)


def test_a_detector_has_our_names(detector_weights, assert_same_weights):
    weights = to_detectron2(detector_weights("mask_rcnn", num_classes=3))
    assert_same_weights(detectron2.from_our_names(weights), weights)
    checkpoint = identify_checkpoint(Path("a.pth"), {"model": weights})
    assert (checkpoint.format, checkpoint.kind) == ("Detectron2", "detector")
    assert_same_weights(checkpoint.weights, weights)
