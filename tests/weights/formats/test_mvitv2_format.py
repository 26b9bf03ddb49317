import torch

from mvit_det.weights.formats import mvitv2


def test_only_the_last_layer_has_another_name(classifier_weights):
    written = mvitv2.from_our_names(classifier_weights)
    assert written.keys() - classifier_weights.keys() == {"head.projection.weight", "head.projection.bias"}
    assert classifier_weights.keys() - written.keys() == {"head.weight", "head.bias"}
    assert torch.equal(written["head.projection.bias"], classifier_weights["head.bias"])
