"""tools/analyze_model.py."""

import pytest
import torch

from mvit_det.detectron2.analyze import format_table, main
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.detectron2.models.cost import count_costs
from mvit_det.errors import InputError

NANO, COCO_CLASSES = "mask_rcnn_mvitv2_nano", "model.roi_heads.num_classes=80"


def test_main_prints_the_table(capsys):
    main(["--config-file", NANO, COCO_CLASSES, "--size", "64", "96", "--regions", "5"])
    with torch.device("meta"):
        model = build(load_config(NANO, [COCO_CLASSES]).model)
    assert capsys.readouterr().out == format_table(count_costs(model, (64, 96), num_regions=5)) + "\n"


def test_unknown_config_and_missing_key_raise():
    with pytest.raises(InputError, match="did you mean 'mask_rcnn_mvitv2_nano'"):
        main(["--config-file", "mask_rcnn_mvitv2_nan"])
    with pytest.raises(InputError, match="data.val.json is not set: add data.val.json="):
        main(["--config-file", NANO])
