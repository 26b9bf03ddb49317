"""Files of data sets for the tests of the formats."""

import json

from PIL import Image


def write_files(root, files):
    """Write files: text, bytes, the contents of a JSON, or None for an image of 200 x 100 px."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (200, 100)).save(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
