from tests.cli.commands import assert_rejected, run_command


def test_a_variant_is_described(capsys):
    run_command("info", "mvitv2_t", "--size", 320, 333)
    output = capsys.readouterr().out
    assert "mvitv2_t: 23,405,664 parameters" in output
    assert "scale5: 768 x 10 x 11, stride 32" in output


def test_a_bad_variant_or_size_is_rejected(capfd):
    assert_rejected(capfd, ["info", "mvit_s"], "'mvit_s': did you mean 'mvitv2_s'?")
    assert_rejected(
        capfd, ["info", "mvitv2_t", "--size", 16, 16], "16 x 16 px: both sides must be at least 32"
    )
