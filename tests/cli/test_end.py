"""The process ends with everything written, and the code of its command."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("arguments", "code"), [(["targets"], 0), (["explain", "nothing"], 2)])
def test_output_is_whole_and_the_code_is_kept(arguments, code, tmp_path):
    with (tmp_path / "out").open("wb") as out:  # a file is buffered in blocks
        done = subprocess.run(
            [sys.executable, "-m", "onnxq", *arguments], stdout=out, stderr=out, check=False
        )
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert done.returncode == code
    assert ("fpga" in text or "x86-vnni" in text) if code == 0 else "nothing" in text


def test_a_reader_that_goes_early_is_no_error():
    command = f"{sys.executable} -m onnxq passes | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not done.stderr
