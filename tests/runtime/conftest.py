import pytest

from tests.runtime.exports import write_export


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The folder of a tiny export."""
    return write_export(tmp_path_factory.mktemp("export"))
