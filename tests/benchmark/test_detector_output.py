from mvit_det.benchmark.detector_output import header, parts_table


def test_the_table_of_parts_says_what_its_two_numbers_are():
    step = {"detector": "a", "mode": "step", "parts_ms": {"FPN": {"forward": 7.66, "backward": 8.3}}}
    inference = step | {"mode": "inference"}
    assert parts_table([step]).splitlines()[::2] == [
        "| ms, forward + backward | a         |",
        "| FPN                    | 7.7 + 8.3 |",
    ]
    assert parts_table([inference]).splitlines()[::2] == ["| ms  | a   |", "| FPN | 7.7 |"]


def test_the_header_counts_repeats():
    machine = {"gpu": None, "cpu": "EPYC", "cores": 2, "threads": 2, "torch": "2.14"}
    settings = {"variant": "mvitv2_t", "batch": 1, "size": (64, 96), "keep_freed_memory": False}
    assert header(machine, settings | {"repeats": 1}).endswith("torch 2.14; 1 repeat after 2 warm-ups")
    assert header(machine, settings | {"repeats": 5}).endswith("torch 2.14; 5 repeats after 2 warm-ups")
