"""Data sources: every form gives the same samples; every bad one a readable error."""

import sys

import numpy as np
import pytest

from onnxq.calibrate.random_data import random_data
from onnxq.calibrate.sources import open_data
from onnxq.errors import DataError, OptionError
from onnxq.runtime.session import InputInfo

INPUTS = [InputInfo("x", np.dtype(np.float32), ("N", 3, 8, 8))]
TWO = [*INPUTS, InputInfo("state", np.dtype(np.int64), (2,))]
A = np.random.default_rng(0).random((12, 3, 8, 8), np.float32)
S = np.arange(24).reshape(12, 2)


def feeds():
    return [{"x": A[i : i + 1]} for i in range(len(A))]


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "plain.npz", x=A)
    np.savez_compressed(tmp_path / "small.npz", x=A)
    np.savez(tmp_path / "column.npz", x=np.asfortranarray(A))
    np.save(tmp_path / "one.npy", A)
    np.save(tmp_path / "batches.npy", A[:, None])
    np.save(tmp_path / "swapped.npy", A.astype(">f4"))
    (tmp_path / "parts").mkdir()
    for i in range(3):
        np.savez(tmp_path / "parts" / f"{i}.npz", x=A[4 * i : 4 * i + 4])
    (tmp_path / "parts" / "labels.txt").write_text("not data")
    (tmp_path / "dataofmine.py").write_text(
        "import numpy as np\ndef samples():\n"
        f"    a = np.load({str(tmp_path / 'one.npy')!r})\n"
        "    return ({'x': a[i:i+1]} for i in range(len(a)))\n"
        "number = 3\n"
        "def wrong():\n    return 3\n"
    )
    return tmp_path


FORMS = {
    "npz": lambda d: d / "plain.npz",
    "compressed npz": lambda d: str(d / "small.npz"),
    "column-major npz": lambda d: d / "column.npz",
    "npy": lambda d: d / "one.npy",
    "npy of batches": lambda d: d / "batches.npy",
    "other byte order": lambda d: d / "swapped.npy",
    "folder": lambda d: d / "parts",
    "function": lambda d: "dataofmine:samples",
    "array": lambda d: A,
    "mapping": lambda d: {"x": A},
    "list": lambda d: feeds(),
    "list of arrays": lambda d: [f["x"] for f in feeds()],
    "generator": lambda d: (f for f in feeds()),
    "callable": lambda d: lambda: iter(feeds()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples_each_time(form, folder, monkeypatch):
    monkeypatch.chdir(folder)
    sys.modules.pop("dataofmine", None)
    source = open_data(FORMS[form](folder), INPUTS)
    for _ in range(2):
        found = list(source)
        assert len(found) == source.length == 12
        for given, expected in zip(found, feeds(), strict=True):
            np.testing.assert_array_equal(given["x"], expected["x"])
            assert given["x"].dtype == np.float32
    np.testing.assert_array_equal(source.first()["x"], A[:1])
    assert source.digest() == open_data(A, INPUTS).digest()
    assert not source.warnings


def test_a_pass_broken_off_loses_nothing_of_a_one_shot_iterator():
    source = open_data(iter(feeds()), INPUTS)
    for _, _ in zip(range(5), source, strict=False):
        pass
    assert source.length is None
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in source]), A)


def test_one_shot_feeds_keep_types_through_the_spool():
    inputs = [InputInfo("t", np.dtype(object), (None,)), InputInfo("h", np.dtype(np.float16), (2,))]
    given = {"t": np.array(["é", "b"], object), "h": np.array([1, 2], np.float16)}
    source = open_data(iter([given]), inputs)
    for _ in range(2):
        (found,) = source
        assert found["t"].tolist() == ["é", "b"]
        assert found["h"].dtype == np.float16


def test_several_inputs_with_a_fixed_one(folder):
    np.savez(folder / "two.npz", x=A, state=S)
    found = list(open_data(folder / "two.npz", TWO))
    assert found[3]["x"].shape == (1, 3, 8, 8)
    assert found[3]["state"].tolist() == [6, 7]


def test_digests_differ_with_values_names_and_order():
    digests = {open_data(d, INPUTS).digest() for d in (A, A[::-1], A[:11], A + 1)}
    assert len(digests) == 4


def test_float64_is_converted_and_said():
    source = open_data(A.astype(np.float64), INPUTS)
    assert next(iter(source))["x"].dtype == np.float32
    assert source.warnings == ["input 'x': float64 values converted to float32"]


BAD_SAMPLES = {
    "name": ([{"images": A[:1]}], "rename 'images' to 'x'"),
    "extra": ([{"x": A[:1], "label": 1}], "leave out 'label'"),
    "missing": ([{}], "add 'x'"),
    "pair": ([(A[:1], 3)], "tuple"),
    "uint8": ([{"x": np.zeros((1, 3, 8, 8), np.uint8)}], "astype\\(np.float32\\)"),
    "layout": ([{"x": A[:1].transpose(0, 2, 3, 1)}], "transpose\\(0, 3, 1, 2\\)"),
    "rank": ([{"x": A[0]}], "array\\[None\\]"),
    "size": ([{"x": A[:1, :2]}], "\\[1, 2, 8, 8\\] given, \\[N, 3, 8, 8\\] expected"),
    "nan": ([*feeds()[:3], {"x": np.full((1, 3, 8, 8), np.nan)}], "sample 3, input 'x': 192 of"),
    "inf": (np.where(A[7].max() == A, np.inf, A), "sample 7, input 'x': 1 of 192"),
    "nothing": ([], "no samples"),
    "empty": (A[:0], "no samples"),
    "number": (3, "int"),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_samples_that_do_not_fit(case):
    data, text = BAD_SAMPLES[case]
    with pytest.raises(DataError, match=text) as caught:
        list(open_data(data, INPUTS))
    assert caught.value.exit_code == 2


def test_int_of_another_width_is_an_error():
    with pytest.raises(DataError, match="int32 given, int64 expected"):
        open_data([{"x": A[:1], "state": S[0].astype(np.int32)}], TWO)


def test_one_array_does_not_serve_two_inputs(folder):
    with pytest.raises(DataError, match="2 inputs"):
        open_data(A, TWO)
    with pytest.raises(DataError, match="2 inputs"):
        open_data(folder / "one.npy", TWO)


def test_stacks_of_unlike_length(folder):
    with pytest.raises(DataError, match="'x' 12, 'state' 5"):
        open_data({"x": A, "state": S[:5]}, TWO)


def test_a_stack_for_a_fixed_batch_needs_one_rank_more():
    fixed = [InputInfo("x", np.dtype(np.float32), (4, 3, 8, 8))]
    with pytest.raises(DataError, match="fixed batch of 4"):
        open_data(A, fixed)
    assert len(list(open_data(A.reshape(3, 4, 3, 8, 8), fixed))) == 3


BAD_FILES = {
    "nothing.npz": (None, "no such data"),
    "zero.npy": (b"", "no array file"),
    "zero.npz": (b"", "no .npz file"),
    "text.csv": (b"1,2", "unknown kind"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name, tmp_path):
    content, text = BAD_FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=text):
        open_data(tmp_path / name, INPUTS)


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.save(tmp_path / "p.npy", np.array([Bomb()], object))
    np.savez(tmp_path / "p.npz", x=np.array([Bomb()], object))
    for name in ("p.npy", "p.npz"):
        with pytest.raises(DataError, match="pickled"):
            open_data(tmp_path / name, INPUTS)


@pytest.mark.parametrize("name", ["plain.npz", "small.npz", "one.npy"])
def test_truncated_files(name, folder):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        list(open_data(folder / name, INPUTS))


def test_damaged_compression_is_an_error(folder):
    data = bytearray((folder / "small.npz").read_bytes())
    data[2000:3000] = bytes(1000)
    (folder / "small.npz").write_bytes(data)
    with pytest.raises(DataError):
        list(open_data(folder / "small.npz", INPUTS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_module_of_this_name:f", "ModuleNotFoundError"),
        ("dataofmine:absent", "AttributeError"),
        ("dataofmine:number", "no function"),
        ("dataofmine:wrong", "returned a int"),
    ],
)
def test_functions_that_cannot_be_used(text, message, folder, monkeypatch):
    monkeypatch.chdir(folder)
    sys.modules.pop("dataofmine", None)
    with pytest.raises(DataError, match=message):
        open_data(text, INPUTS)


def test_an_error_in_the_users_generator_names_the_sample():
    def broken():
        yield from feeds()[:2]
        raise KeyError("image_17")

    with pytest.raises(DataError, match=r"failed at sample 2\nKeyError: 'image_17'"):
        list(open_data(broken(), INPUTS))


def test_preprocess_steps_are_for_images_only():
    with pytest.raises(OptionError, match="images"):
        open_data(A, INPUTS, preprocess="rgb")


def test_random_data_repeats_and_fits_the_inputs():
    source = random_data(TWO, samples=3, seed=1)
    first, again = list(source), list(source)
    assert len(first) == 3
    assert first[0]["x"].shape == (1, 3, 8, 8)
    np.testing.assert_array_equal(first[2]["x"], again[2]["x"])
    assert source.digest() != random_data(TWO, samples=3, seed=2).digest()
    with pytest.raises(DataError, match="'s'"):
        random_data([InputInfo("s", np.dtype(object), (1,))])
    shapes = ("T", "N", 4), ("N", 4), (None, "T")
    inputs = [InputInfo(str(i), np.dtype(np.float32), s) for i, s in enumerate(shapes)]
    assert [a.shape for a in random_data(inputs).first().values()] == [(1, 1, 4), (1, 4), (1, 1)]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_pass_may_start_at_any_sample_and_the_digest_is_the_same(tmp_path, save):
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    save(tmp_path / "x.npz", x=x)
    np.save(tmp_path / "x.npy", x)
    inputs = [InputInfo("x", np.dtype(np.float32), (1, 2, 3))]
    sources = [tmp_path / "x.npz", tmp_path / "x.npy", x, [{"x": v[None]} for v in x]]
    sources.append(iter([{"x": v[None]} for v in x]))
    digests = set()
    for data in sources:
        source = open_data(data, inputs)
        for first in (6, 0, 3, 7):
            found = [f["x"][0] for f in source.start(first)]
            assert len(found) == 7 - first
            assert all((a == b).all() for a, b in zip(found, x[first:], strict=True))
        assert source.count() == 7
        digests.add(source.digest())
    parted = open_data(x, inputs)
    next(iter(parted))
    list(parted.start(5))  # not in step: not counted twice, not left out
    assert {parted.digest()} == digests
