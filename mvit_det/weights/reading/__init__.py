"""Reads weight files without executing anything in them.

Threat model: an attacker controls every byte of a file, or of a server's response. Reading the file must not
run code, and must not take much more memory than the file has bytes.

No unrestricted unpickler is used. Pickles of NumPy arrays are interpreted here, with stand-ins for the few
names that they need. Pickles of torch are interpreted in the same way before
``torch.load(weights_only=True)`` reads them. The package refuses

- any other name in a pickle, and pickles of too many opcodes or levels;
- archives that are compressed, or that two readers could understand differently;
- tensors that are sparse, quantized, or larger than the file;
- anything but a regular file;
- downloads that are larger than 16 GiB, fill the disk, or arrive too slowly.

:mod:`mvit_det.weights.sources` refuses URLs of other schemes than ``http``, ``https`` and ``detectron2``.

The package does not defend against weights that were trained to mislead a model: use a source that you
trust, and add the digest of the file to the URL as ``#sha256=``. Nor does it defend against bugs in the
parsers of torch and safetensors, or another process that changes a file while it is read or mapped into
memory.
"""

from mvit_det.weights.reading.files import read_config, read_file

__all__ = ["read_config", "read_file"]
