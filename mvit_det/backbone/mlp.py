"""The MLP of a block."""

from collections.abc import Callable

from torch import Tensor, nn

from mvit_det.ops.checkpointing import activate
from mvit_det.ops.linear import linear


class Mlp(nn.Module):
    """Two linear layers with an activation between them: (..., dim) -> (..., dim_out)."""

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        dim_out: int,
        act_layer: Callable[[], nn.Module],
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_dim, dim_out)
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        x = linear(self.fc1, x)
        x = activate(self.act, x, self.recompute)
        return linear(self.fc2, x)
