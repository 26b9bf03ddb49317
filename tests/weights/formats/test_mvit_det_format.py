from mvit_det import build_mvit
from mvit_det.weights.formats import mvit_det


def test_weights_keep_their_names(assert_same_weights):
    weights = build_mvit("mvitv2_nano").state_dict()
    assert mvit_det.recognize(weights)
    assert_same_weights(mvit_det.to_our_names(weights), weights)
    assert_same_weights(mvit_det.from_our_names(weights), weights)
