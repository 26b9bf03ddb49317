import re

from mvit_det.detectron2.engine.metric_names import with_plain_names

# MLflow accepts no other names, and none of more than 250 characters.
VALID = re.compile(r"[\w.\- ]{1,240}")


def test_names_of_classes_become_plain_text():
    names = ["\x1b[31mred</script><b>$x^2$", "n" * 300, "line\nbreak/../a b", "pièce 2", "a.b-c_d"]
    results = {"bbox": {"AP": 1.0, "AP50": 2.0} | {f"AP-{name}": float(i) for i, name in enumerate(names)}}
    plain = with_plain_names(results)["bbox"]
    assert list(plain.values()) == [1.0, 2.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert all(VALID.fullmatch(name) for name in plain)
    assert list(plain)[:3] == ["AP", "AP50", "AP-__31mred__script__b__x_2_"]
    assert list(plain)[4:] == ["AP-line_break_.._a b", "AP-pièce 2", "AP-a.b-c_d"]


def test_names_that_become_the_same_are_numbered():
    metrics = {"AP-a/b": 1.0, "AP-a<b": 2.0, "AP-a_b": 3.0, "AP-" + "n" * 300: 4.0, "AP-" + "n" * 301: 5.0}
    plain = with_plain_names({"bbox": metrics})["bbox"]
    assert list(plain.values()) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert plain["AP-a_b"] == 3.0  # the class that has this name


def test_other_metrics_keep_their_names():
    results = {"bbox": {"AP": 1.0, "AR@100": 2.0}, "segm": {"AP": 3.0}}
    assert with_plain_names(results) == results
