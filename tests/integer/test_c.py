"""The generated C equals the reference on every value, and is C99 without undefined behaviour."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxq.export.c import compile_c, golden, write_c
from onnxq.graph import Model
from onnxq.integer import lower, run
from onnxq.quant import Rounding
from tests.integer.c_project import CLANG, STRICT, blocks, check_golden, needs_cc, project, raw
from tests.integer.networks import NETWORKS, build
from tests.integer.qdq import Qdq

#: As a user compiles for speed, and every warning an error.
FAST = ("-O3", "-Wall", "-Wextra", "-Wconversion", "-Werror")


@needs_cc
@pytest.mark.parametrize("multiplier", [False, True], ids=["shift", "multiplier"])
@pytest.mark.parametrize("name", NETWORKS)
def test_c_equals_the_reference(name: str, multiplier: bool, tmp_path: Path) -> None:
    proto = build(name, "half-away" if multiplier else "half-up", 3, multiplier=multiplier)
    program = lower(Model.load(proto))
    source = project(program, tmp_path)
    count = sum(program.values[v].size for v in program.outputs.values()) * 4
    assert check_golden(tmp_path) == f"{count} of {count} values equal\n"
    assert source.ram > 0
    feed = golden(program, frames=7).codes
    inputs = {v: feed[v] for v in program.inputs.values()}
    for value, codes in raw(tmp_path, program, inputs).items():
        np.testing.assert_array_equal(codes, run(program, inputs)[value])


@needs_cc
@pytest.mark.parametrize("flags", [STRICT, FAST], ids=["strict", "fast"])
@pytest.mark.parametrize("wanted", [True, False], ids=["blocks", "plain"])
def test_both_ways_of_convolution(wanted: bool, flags: tuple[str, ...], tmp_path: Path) -> None:
    several = "channels_strides_pads", "dilated_groups", "pointwise_no_bias", "few_pixels"
    for name in (f"conv_{n}" for n in several):
        program = lower(Model.load(build(name)))
        with blocks(wanted):
            source = project(program, tmp_path / name, flags=flags)
        assert ("conv_blocks" in source.files["kernels.c"]) == wanted
        check_golden(tmp_path / name)
        assert source.files["model.c"].count("scratch_s16[") == 1 and source.scratch > 0


@needs_cc
def test_depthwise_convolutions_alone_need_no_pairs(tmp_path: Path) -> None:
    m = Qdq()
    y = m.quantize(m.conv(m.input((5, 8, 8)), (5, 1), group=5), -3)
    with blocks(True):
        source = project(lower(m.model(y)), tmp_path, flags=FAST)
    assert "WIDE void" in source.files["kernels.c"]
    assert "pair" not in source.files["kernels.c"]
    check_golden(tmp_path)


@needs_cc
@pytest.mark.parametrize("most", range(3))
def test_every_set_of_instructions(most: int, tmp_path: Path) -> None:
    with blocks(True):
        program = lower(Model.load(build("conv_channels_strides_pads")))
        source = project(program, tmp_path, flags=(*FAST, f"-DMODEL_SIMD={most}"))
    assert all(f"sums_{name}" in source.files["kernels.c"] for name in ("sse2", "avx2", "vnni"))
    check_golden(tmp_path)


@pytest.mark.skipif(CLANG is None, reason="there is no clang")
@pytest.mark.parametrize("name", ["conv_depthwise", "residual", "split_shuffle"])
def test_clang(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[compile_c.__module__], "compiler", lambda: CLANG)
    for wanted in (True, False):
        with blocks(wanted):
            project(lower(Model.load(build(name))), tmp_path / str(wanted))
        check_golden(tmp_path / str(wanted))


@needs_cc
@pytest.mark.parametrize("rounding", Rounding)
def test_every_rounding(rounding: Rounding, tmp_path: Path) -> None:
    program = lower(Model.load(build("residual", rounding.value)))
    project(program, tmp_path)
    assert check_golden(tmp_path) == "40 of 40 values equal\n"


@needs_cc
def test_a_wrong_value_is_seen(tmp_path: Path) -> None:
    program = lower(Model.load(build("residual")))
    vectors = golden(program)
    last = next(iter(program.outputs.values()))
    vectors.codes[last][1, 4] += 1
    project(program, tmp_path, vectors, ("-O1",))
    done = subprocess.run([tmp_path / "net"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "39 of 40 values equal\n")


@needs_cc
def test_an_incomplete_frame_is_an_error(tmp_path: Path) -> None:
    project(lower(Model.load(build("residual"))), tmp_path)
    done = subprocess.run([tmp_path / "net", "--raw"], input=b"abc", capture_output=True,
                          check=False)  # fmt: skip
    assert done.returncode == 2 and b"incomplete" in done.stderr


@pytest.mark.parametrize("name", NETWORKS)
def test_has_no_float_and_no_allocation(name: str) -> None:
    program = lower(Model.load(build(name)))
    for file, text in write_c(program, golden(program), "net").files.items():
        if file.endswith((".c", ".h")):
            assert not re.search(r"\b(float|double|malloc|calloc|alloca|\d+\.\d+)\b", text), file


def test_values_that_live_together_never_share_memory() -> None:
    from onnxq.export.c.memory import plan

    for name in NETWORKS:
        program = lower(Model.load(build(name)))
        memory = plan(program)
        alive: dict[str, set[str]] = {}
        ends = {memory.aliases.get(v, v): len(program.steps) for v in program.outputs.values()}
        for i, step in enumerate(program.steps):
            for v in step.inputs:
                root = memory.aliases.get(v, v)
                ends[root] = max(ends.get(root, 0), i)
        for i, step in enumerate(program.steps):
            now = {s.output for s in program.steps[:i] if ends.get(s.output, -1) >= i}
            alive[step.output] = {v for v in now if v in memory.places}
        for value, others in alive.items():
            if value not in memory.places:
                continue
            arena, start = memory.places[value]
            for other in others - {value}:
                arena_2, start_2 = memory.places[other]
                apart = (
                    start + program.values[value].size <= start_2
                    or start_2 + program.values[other].size <= start
                )
                assert arena != arena_2 or apart, (name, value, other)


def test_memory_is_shared() -> None:
    source = write_c(lower(Model.load(build("residual"))), golden(lower(Model.load(
        build("residual")))), "net")  # fmt: skip
    assert source.memory.sizes["int8"] == 3 * 8 * 64  # of five values, three are alive at once
