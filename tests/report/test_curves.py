from mvit_det.report.curves import draw_curves, read_curves


def write_log(folder, version, text):
    (folder / f"version_{version}").mkdir(parents=True)
    (folder / f"version_{version}" / "metrics.csv").write_text(text)


def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path):
    write_log(tmp_path, 2, "step,train/loss_mask,val/box_AP,epoch\n9,3.0,,0\n19,2.0,,0\n19,,40.0,0\n")
    write_log(tmp_path, 10, "step,train/loss_mask\n19,1.5\n29,1.0\n")
    assert read_curves(tmp_path) == {
        "train/loss_mask": [(10, 3.0), (20, 1.5), (30, 1.0)],
        "val/box_AP": [(20, 40.0)],
    }
    draw_curves(tmp_path, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 0


def test_a_run_without_validation_has_one_plot(tmp_path):
    write_log(tmp_path, 0, "step,train/loss_mask\n9,3.0\n")
    draw_curves(tmp_path, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 0


def test_the_line_that_a_killed_run_did_not_finish_is_left_out(tmp_path):
    write_log(tmp_path, 0, "step,train/loss_mask\n9,3.0\n1")
    assert read_curves(tmp_path) == {"train/loss_mask": [(10, 3.0)]}
