"""AdamW as in the MViTv2 paper, without weight decay on norms and position embeddings."""

import torch
from detectron2.config import LazyCall as L
from detectron2.solver.build import get_default_optimizer_params

optimizer = L(torch.optim.AdamW)(
    params=L(get_default_optimizer_params)(  # tools/train_net.py sets params.model
        base_lr="${..lr}",
        weight_decay_norm=0.0,
        overrides={name: {"weight_decay": 0.0} for name in ("pos_embed", "rel_pos_h", "rel_pos_w")},
    ),
    lr=1.6e-4,  # for train.reference_batch_size images per step
    betas=(0.9, 0.999),
    weight_decay=0.1,
)
