import io

import numpy as np
import pytest
from PIL import Image

from tests.runtime.exports import write_export


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The folder of a tiny export."""
    return write_export(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def white_png():
    """The bytes of a white image of 60 x 40 px, in which the tiny model finds two objects."""
    file = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), 255, np.uint8)).save(file, "PNG")
    return file.getvalue()
