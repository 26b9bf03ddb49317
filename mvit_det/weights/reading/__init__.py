"""Read weight files without executing anything in them.

Threat model. An attacker controls every byte of a file, and of what a server sends in its place. Reading it
must not run code, write elsewhere, or take much more memory than the file has bytes. Therefore, no pickle is
loaded by Python's :mod:`pickle`: pickles of NumPy arrays are interpreted here with stand-ins for the few
names that they may use, and pickles of torch are checked here in the same way before
``torch.load(weights_only=True)`` reads them. Refused are: every other name in a pickle; a pickle of more
steps than a detector needs, or nested too deep; a zip archive that is compressed, or that different readers
could understand differently; tensors that are larger than the file, sparse, quantized or on another device;
whatever is not a regular file; and a URL other than ``http``, ``https`` or ``detectron2``. Not defended
against are: weights that were trained to mislead a model, which only the digest in
``#sha256=`` or a trusted source excludes, above all over ``http``; bugs in the parsers of torch and
safetensors; another process that changes a file while it is read or mapped into memory; and a download
that fills the disk.
"""

from mvit_det.weights.reading.download import local_file
from mvit_det.weights.reading.files import read_config, read_file

__all__ = ["local_file", "read_config", "read_file"]
