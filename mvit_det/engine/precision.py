"""The precision of inference: float32, or autocast to half precision."""

import torch

from mvit_det.errors import InputError, unknown_name

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_dtype(precision: str, device: torch.device, name: str = "precision") -> torch.dtype | None:
    """Return the dtype for ``torch.autocast``, or None for float32.

    Args:
        precision: "float32", "bf16", "fp16", or "auto": on a GPU, bf16 if it has it, else fp16; on a
            CPU, bf16 if it has AMX or AVX512-BF16, else float32.
        device: the device of the model.
        name: what an error calls the precision, such as a key of a config.

    Raises:
        InputError: if the precision is unknown, or if the device cannot compute in it.
    """
    if precision == "auto":
        return _fastest(device)
    if precision not in PRECISIONS:
        raise unknown_name(name, precision, ["auto", *PRECISIONS])
    dtype = PRECISIONS[precision]
    if dtype == torch.float16 and device.type == "cpu":
        raise InputError(f"{name} fp16: a CPU computes in float32 or bf16")
    if dtype == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError(f"{name} bf16: this GPU computes in float32 or fp16")
    return dtype


def _fastest(device: torch.device) -> torch.dtype | None:
    if device.type == "cuda":
        # PyTorch emulates bf16 on GPUs without it, which is slow.
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else torch.float16
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return None
