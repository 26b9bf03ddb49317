"""Image classifiers of SlowFast.

The names are those of the MViTv2 repository. SlowFast uses the same code for video, so the pooling kernels of
its image networks have a frame axis of length 1.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from mvit_det.errors import InputError
from mvit_det.weights.formats import mvitv2
from mvit_det.weights.formats.interface import Weights


def recognize(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the weights are those of an image or a video network of SlowFast."""
    has_frame_axis = any(
        weight.dim() == 5 for key, weight in weights.items() if key.startswith(("patch_embed.", "blocks."))
    )
    return has_frame_axis or _is_video(weights)


def to_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights of an image network of SlowFast under our names, without the frame axis.

    Raises:
        InputError: if the weights are those of a video network.
    """
    if _is_video(weights):
        raise InputError("the weights of a video network; expected those of an image network")
    renamed = mvitv2.to_our_names(weights)
    return {key: weight.squeeze(2) if weight.dim() == 5 else weight for key, weight in renamed.items()}


def from_our_names(weights: Mapping[str, Tensor]) -> Weights:
    """Return the weights of a classifier or a backbone under SlowFast's names, with the frame axis."""
    return {
        key: weight.unsqueeze(2) if re.search(r"\.pool_[qkv]\.weight$", key) else weight
        for key, weight in mvitv2.from_our_names(weights).items()
    }


def _is_video(weights: Mapping[str, Tensor]) -> bool:
    patches = weights.get("patch_embed.proj.weight")
    has_frames = patches is not None and patches.dim() == 5 and patches.shape[2] > 1
    return has_frames or any(key.endswith(("pos_embed_temporal", "rel_pos_t")) for key in weights)
