import pytest

from mvit_det.torchvision.engine.schedule import plan


def test_the_reference_recipe():
    schedule = plan("mvitv2_t", num_images=120_000, epochs=36, batch_size=8, devices=8)
    assert schedule.steps == 67_500
    assert schedule.lr == pytest.approx(1.6e-4)
    assert schedule.drop_steps == (52_500, 62_500)
    assert schedule.warmup_steps == 250
    assert "64 images a step = 8 a batch x 8 devices" in schedule.explanation
    assert "67,500 steps = 36 epochs of 120,000 images / 64" in schedule.explanation
    assert schedule.factor(0) == 0.001
    assert schedule.factor(125) == pytest.approx(0.5005)
    assert [schedule.factor(s) for s in (250, 52_499, 52_500, 62_500)] == pytest.approx([1, 1, 0.1, 0.01])


def test_the_explanation_derives_rate_and_steps_from_the_batch():
    schedule = plan("mvitv2_t", num_images=96, epochs=10, batch_size=2, devices=2, accumulate=3)
    assert schedule.steps == 80
    assert schedule.warmup_steps == 8
    assert schedule.lr == pytest.approx(1.6e-4 * 12 / 64)
    assert "12 images a step = 2 a batch x 2 devices x 3 accumulated" in schedule.explanation
    assert "80 steps = 10 epochs of 96 images / 12" in schedule.explanation
    assert "learning rate 3e-05 = 0.00016 x 12/64 images a step" in schedule.explanation


def test_a_given_learning_rate_is_not_scaled():
    schedule = plan("mvitv2_t", num_images=9, epochs=1, batch_size=4, lr=0.5)
    assert (schedule.lr, schedule.steps) == (0.5, 3)
    assert "learning rate 0.5 as given" in schedule.explanation


def test_the_explanation_has_no_plural_of_one():
    explanation = plan("mvitv2_t", num_images=1, epochs=1, batch_size=1).explanation
    assert "1 image a step = 1 a batch x 1 device x 1 accumulated" in explanation
    assert "1 step = 1 epoch of 1 image / 1" in explanation


def test_the_nano_variant_has_its_own_learning_rate():
    assert plan("mvitv2_nano", num_images=8, epochs=1, batch_size=2).lr == pytest.approx(1e-3 * 2 / 4)
