"""The table of model variants. Importing it does not import torch."""

from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

RECOMPUTE = ("none", "cheap", "block")  # accepted values of MViT's keyword ``recompute``


@dataclass(frozen=True)
class Variant:
    """Hyperparameters of one MViT variant.

    Attributes:
        depths: number of blocks in each stage.
        embed_dim: channels of the first stage; they double with each stage.
        num_heads: heads of the first stage; they double with each stage.
        drop_path_rate: stochastic depth rate of the last block.

    The other fields are keywords of :class:`mvit_det.MViT`.

    Source: MViTv2, arXiv 2112.01526, Table 1 and section 5; the stochastic depth rates are those of the
    released detectors. MViTv1 detectors were not released: their rates are those that section B.3 gives for
    the MViTv2 of the same size, and their global blocks keep the K/V stride of their stage, which reproduces
    the multiply-adds of Table 4 (326, 373 and 438 G).
    """

    depths: tuple[int, int, int, int]
    embed_dim: int = 96
    num_heads: int = 1
    drop_path_rate: float = 0.0
    dim_mul_in_att: bool = True
    double_global_kv_stride: bool = True
    residual_pooling: bool = True
    pool_unstrided_queries: bool = True
    use_abs_pos: bool = False
    use_rel_pos: bool = True

    @property
    def last_block_indexes(self) -> tuple[int, ...]:
        """The index of the last block of each stage."""
        return tuple(total - 1 for total in accumulate(self.depths))

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of :class:`mvit_det.MViT` that build this variant, except ``norm_layer``."""
        fields = asdict(self)
        depths = fields.pop("depths")
        return {"depth": sum(depths), "last_block_indexes": self.last_block_indexes} | fields


_MVITV1 = {
    "dim_mul_in_att": False,
    "double_global_kv_stride": False,
    "residual_pooling": False,
    "pool_unstrided_queries": False,
    "use_abs_pos": True,
    "use_rel_pos": False,
}

VARIANTS: dict[str, Variant] = {
    # Not in the paper: small enough to train on a CPU.
    "mvitv2_nano": Variant((1, 2, 2, 1), embed_dim=32),
    "mvitv2_t": Variant((1, 2, 5, 2), drop_path_rate=0.2),
    "mvitv2_s": Variant((1, 2, 11, 2), drop_path_rate=0.2),
    "mvitv2_b": Variant((2, 3, 16, 3), drop_path_rate=0.4),
    "mvitv2_l": Variant((2, 6, 36, 4), embed_dim=144, num_heads=2, drop_path_rate=0.5),
    "mvitv2_h": Variant((4, 8, 60, 8), embed_dim=192, num_heads=3, drop_path_rate=0.6),
    "mvitv1_t": Variant((1, 2, 5, 2), drop_path_rate=0.1, **_MVITV1),
    "mvitv1_s": Variant((1, 2, 11, 2), drop_path_rate=0.3, **_MVITV1),
    "mvitv1_b": Variant((2, 3, 16, 3), drop_path_rate=0.4, **_MVITV1),
}
"""Name of each variant -> its :class:`Variant`."""
