"""The optimizer and its learning rate scheduler."""

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mvit_det.torchvision.engine.schedule import Schedule

WEIGHT_DECAY = 0.1
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
POSITIONS = ("pos_embed", "rel_pos_h", "rel_pos_w")


def build_optimizer(model: nn.Module, schedule: Schedule) -> tuple[Optimizer, LambdaLR]:
    """Return AdamW and its scheduler, without weight decay on norms and on position embeddings."""
    decayed, exempt = split_by_decay(model)
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": exempt, "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=schedule.lr)
    return optimizer, LambdaLR(optimizer, schedule.factor)


def split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trainable parameters with weight decay, and those without."""
    exempt_ids = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, NORMS) or name in POSITIONS
    }
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if id(parameter) not in exempt_ids]
    exempt = [parameter for parameter in trainable if id(parameter) in exempt_ids]
    return decayed, exempt
