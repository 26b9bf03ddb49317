from mvit_det.benchmark.detector_output import parts_table


def test_the_table_of_parts_says_what_its_two_numbers_are():
    step = {"detector": "a", "mode": "step", "parts_ms": {"FPN": {"forward": 7.66, "backward": 8.3}}}
    inference = step | {"mode": "inference"}
    assert parts_table([step]).splitlines()[::2] == [
        "| ms, forward + backward | a         |",
        "| FPN                    | 7.7 + 8.3 |",
    ]
    assert parts_table([inference]).splitlines()[::2] == ["| ms  | a   |", "| FPN | 7.7 |"]
