import torch
from torchvision.models.detection.image_list import ImageList

from mvit_det.export.proposals import clip_boxes, select_proposals
from mvit_det.torchvision import build_detector


def test_boxes_are_clipped_to_their_own_image():
    boxes = torch.tensor([[[-1.0, 5, 30, 50]], [[3, -4, 18, 50]]])
    sizes = torch.tensor([[20, 10], [40, 60]])
    expected = [[[0, 5, 10, 20]], [[3, 0, 18, 40]]]
    assert clip_boxes(boxes, sizes).tolist() == expected
    assert clip_boxes(boxes[:, :, None], sizes)[:, :, 0].tolist() == expected


@torch.inference_mode()
def test_proposals_are_those_of_the_network_and_zeros():
    network = build_detector("mvitv2_nano", 2).rpn.eval()
    for layer in network.head.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.1)
    network._pre_nms_top_n["testing"] = 40  # more than the anchors of the two coarsest levels
    maps = [torch.randn(2, 64, -(-64 // stride), -(-96 // stride)) for stride in (4, 8, 16, 32, 64)]
    sizes = [(60, 96), (64, 80)]
    for count in (20, 150):
        network._post_nms_top_n["testing"] = count
        expected, _ = network(ImageList(torch.zeros(2, 3, 64, 96), sizes), dict(enumerate(maps)))
        boxes, valid = select_proposals(network, maps, torch.tensor(sizes))
        assert boxes.shape == (2, count, 4)
        assert valid.sum(1).tolist() == [len(image) for image in expected]
        for image_boxes, image_valid, image in zip(boxes, valid, expected, strict=True):
            torch.testing.assert_close(image_boxes[image_valid], image)
            assert not image_boxes[~image_valid].any()
    assert not valid.all()
