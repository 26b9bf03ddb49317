import pytest

from mvit_det.errors import InputError
from mvit_det.torchvision.engine.last_checkpoint import SaveInterval


def test_intervals_are_numbers_of_steps_or_minutes():
    assert SaveInterval.parse("500") == SaveInterval(steps=500)
    assert SaveInterval.parse("10m") == SaveInterval(seconds=600)
    assert SaveInterval.parse("0.5m") == SaveInterval(seconds=30)


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "1.5", "10 m", "10h", "m", "nan", "٣", "9" * 20])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="save_every .*: expected a number of steps such as 500, or of min"):
        SaveInterval.parse(text)
