import torch

from mvit_det import build_mvit
from mvit_det.backbone.abs_pos import absolute_positions


def test_absolute_positions_are_resized_to_the_map():
    rows = torch.arange(56.0).repeat_interleave(56)
    class_token = torch.full((1, 1, 32), 100.0)  # has no place in a map
    table = torch.cat([class_token, rows[None, :, None].expand(1, -1, 32)], dim=1)
    at_pretraining_size = absolute_positions(table, (56, 56), has_class_token=True)
    assert torch.equal(at_pretraining_size[0, :, 7, 3], torch.arange(56.0))
    half = absolute_positions(table, (28, 40), has_class_token=True)
    assert half.shape == (1, 28, 40, 32)
    torch.testing.assert_close(half[0, 2:-2, 5, 0], torch.arange(0.5, 56, 2)[2:-2])
    assert torch.equal(absolute_positions(table[:, 1:], (28, 40), has_class_token=False), half)


def test_the_table_is_laid_out_for_the_size_of_pretraining():
    model = build_mvit("mvitv2_nano", use_abs_pos=True)
    assert model.pos_embed.shape == (1, 56 * 56 + 1, 32)
    model = build_mvit("mvitv2_nano", use_abs_pos=True, pretrain_img_size=64, pretrain_use_cls_token=False)
    assert model.pos_embed.shape == (1, 16 * 16, 32)
