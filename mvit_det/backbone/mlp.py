"""The MLP of a block."""

from collections.abc import Callable

from torch import Tensor, nn

from mvit_det.ops.checkpointing import Layer, linears


class Mlp(nn.Module):
    """Two linear layers with an activation between them, over the last axis."""

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

    def forward(self, x: Tensor, norm: nn.Module, *beside: Layer) -> tuple[Tensor, ...]:
        """Map ``norm(x)`` (..., dim) to (..., dim_out), and by the layers ``beside`` the MLP."""
        first, second = ((layer.weight, layer.bias) for layer in (self.fc1, self.fc2))
        hidden, *others = linears(norm, x, first, *beside, recompute=self.recompute)
        (x,) = linears(self.act, hidden, second, recompute=self.recompute)
        return x, *others
