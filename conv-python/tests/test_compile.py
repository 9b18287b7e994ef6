"""Compiled objects: calls, packed weights, chains, free sizes, pickles, threads, forks."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import convc

STEM = "conv2d ic3 oc8 in 32x32 kernel 7 stride 2 pad 3 + bias, relu"


def arrays(seed: int = 0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    shapes = ((1, 3, 32, 32), (8, 3, 7, 7), (8,))
    x, w, b = (random.standard_normal(s).astype("f4") for s in shapes)
    return x, w, b


def test_a_call_and_packed_weights() -> None:
    x, w, b = arrays()
    c = convc.compile(STEM)
    assert (c.input_shape, c.output_shape, c.dtype) == ((1, 3, 32, 32), (1, 8, 16, 16), "f4")
    assert c.weights == [("weight", (8, 3, 7, 7)), ("bias", (8,))]
    y = c(x, w, b)
    wanted = np.maximum(convc.conv2d(x, w, b, stride=2, padding=3), 0)
    np.testing.assert_array_equal(y, wanted)
    packed, out = c.pack(w, b), np.empty_like(y)
    assert packed(x, out=out) is out
    np.testing.assert_array_equal(out, y)
    np.testing.assert_array_equal(packed(x, threads=3), y)


def test_keywords_are_the_text() -> None:
    said = convc.compile(
        "conv2d",
        in_channels=3,
        out_channels=8,
        input=(32, 32),
        kernel=7,
        stride=2,
        padding=3,
        bias=True,
        activation="relu",
    )
    assert said.text == convc.compile(STEM).text
    said = convc.compile(
        "conv1d",
        input=9,
        kernel=3,
        padding=[(2, 0)],
        dtype=np.float64,
        padding_mode="reflect",
        batch=2,
        flip=True,
        layout="nwc",
    )
    assert said.text == "conv1d f64 nwc n2 g1 ic1 oc1 in 9 kernel 3 pad 2:0 mode reflect flip"
    with pytest.raises(TypeError, match="no keyword 'strides'"):
        convc.compile("conv1d", input=9, kernel=3, strides=2)
    with pytest.raises(ValueError, match="behind a head"):
        convc.compile("conv1d in 9", kernel=3)
    for kernel in (3.7, "3 stride 2", (3, None)):
        with pytest.raises(TypeError, match="kernel: found .*, expected whole numbers"):
            convc.compile("conv1d", input=9, kernel=kernel)
    with pytest.raises(TypeError, match="bias: found 'no', expected True or False"):
        convc.compile("conv1d", input=9, kernel=3, bias="no")
    adds = convc.compile("conv1d in 9 kernel 1 + residual")
    x = np.ones((1, 1, 9), "f4")
    with pytest.raises(TypeError, match=r"residual=\.\."):
        adds(x, x[..., :1], x)


def test_types_of_sixteen_bits() -> None:
    """Sums are those of float32, rounded once."""
    said = "ic2 oc3 in 9 kernel 3 pad 1 + bias"
    shapes = ((1, 2, 9, 9), (3, 2, 3, 3), (3,))
    random = np.random.default_rng(5)
    x, w, b = (random.standard_normal(shape).astype("f2") for shape in shapes)
    x4, w4, b4 = (a.astype("f4") for a in (x, w, b))
    wide = convc.compile(f"conv2d {said}")(x4, w4, b4)
    c = convc.compile(f"conv2d f16 {said}")
    assert c.dtype == c.output_dtype == np.float16
    for made in (c(x, w, b), c(x[:, :, ::-1][:, :, ::-1], w, b), c.pack(w, b)(x)):
        assert made.dtype == np.float16
        np.testing.assert_array_equal(made, wide.astype("f2"))
    np.testing.assert_array_equal(convc.conv2d(x, w, b, padding=1), wide.astype("f2"))
    out = np.zeros((1, 3, 9, 18), "f2")[..., ::2]
    assert c(x, w, b, out=out) is out
    np.testing.assert_array_equal(out, wide.astype("f2"))
    c = convc.compile(f"conv2d f32 x f16 {said} f32")
    np.testing.assert_array_equal(c(x4, w, b4), wide)
    c = convc.compile(f"conv2d f32 x f16 -> f16 {said}; conv2d oc1 kernel 1", weights=None)
    assert (c.dtype, c.output_dtype) == (np.float32, np.float16)
    one = random.standard_normal((1, 3, 1, 1)).astype("f2")
    second = convc.conv2d(wide.astype("f2"), one)
    np.testing.assert_array_equal(c(x4, w, b, one), second)
    added = convc.compile("conv1d f16 in 4 kernel 1 + residual")(
        x[0, :1, :1, :4], one[:, :1, 0], residual=x[0, :1, 1:2, :4]
    )
    assert added.dtype == np.float16
    with pytest.raises(TypeError, match="x holds float32, but the convolution takes float16"):
        convc.compile(f"conv2d f16 {said}")(x4, w, b)
    with pytest.raises(TypeError, match="weight holds float32, but the convolution takes float16"):
        convc.compile(f"conv2d f16 {said}").pack(w4, b)
    with pytest.raises(TypeError, match="bias holds float32"):
        convc.conv2d(x, w, b4)


def test_bfloat16_is_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match="install ml_dtypes"):
        convc.compile("conv1d bf16 in 4 kernel 1")


def test_bfloat16() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.arange(8, dtype="f4").reshape(1, 1, 8).astype(bfloat16)
    w = np.array([[[0.5, 1.0, -3.0]]]).astype(bfloat16)
    c = convc.compile("conv1d bf16 in 8 kernel 3")
    made = c(x, w)
    assert made.dtype == c.dtype == bfloat16
    wide = convc.conv1d(x.astype("f4"), w.astype("f4"))
    np.testing.assert_array_equal(made.astype("f4"), wide.astype(bfloat16).astype("f4"))


def test_arrays_in_any_order_of_memory() -> None:
    x, w, b = arrays()
    packed = convc.compile(STEM).pack(w, b)
    y = packed(x)
    wide = np.zeros((1, 3, 64, 70), "f4")
    wide[:, :, ::2, 3:35] = x
    for same in (
        np.asfortranarray(x),
        wide[:, :, ::2, 3:35],
        x[:, ::-1][:, ::-1],
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    ):
        np.testing.assert_array_equal(packed(same), y)
    out = np.zeros((1, 8, 32, 32), "f4")[:, :, ::2, ::-2]
    np.testing.assert_array_equal(packed(x, out=out), y)
    # Addresses that are no multiple of an element's size.
    odd = np.zeros(x.nbytes + 1, "u1")[1:].view("f4").reshape(x.shape)
    odd[...] = x
    assert not odd.flags.aligned
    np.testing.assert_array_equal(packed(odd), y)
    out = np.zeros(y.nbytes + 1, "u1")[1:].view("f4").reshape(y.shape)
    np.testing.assert_array_equal(packed(x, out=out), y)
    plane = convc.gaussian_filter(odd[0], 1.0, output=odd[0].copy())
    np.testing.assert_array_equal(convc.gaussian_filter(odd[0], 1.0, output=odd[0]), plane)
    # A square in Fortran order is contiguous as well, but another array.
    square = convc.compile("conv2d in 8 kernel 1").pack(np.ones((1, 1, 1, 1), "f4"))
    z = np.arange(64, dtype="f4").reshape(1, 1, 8, 8)
    np.testing.assert_array_equal(square(z.transpose(0, 1, 3, 2)), z.transpose(0, 1, 3, 2))


def test_an_output_that_is_the_input() -> None:
    blur = convc.compile("conv1d in 6 kernel 3 pad 1", weights=np.ones((1, 1, 3))).pack()
    x = np.arange(6, dtype="f4").reshape(1, 1, 6)
    wanted = blur(x)
    buffer = np.zeros(7, "f4")
    buffer[:6] = x.ravel()
    blur(buffer[None, None, :6], out=buffer[None, None, 1:])
    np.testing.assert_array_equal(buffer[1:], wanted.ravel())
    blur(x, out=x)
    np.testing.assert_array_equal(x, wanted)


def test_a_chain_and_a_residual() -> None:
    c = convc.compile(
        "conv2d ic2 oc4 in 8 kernel 1 + bias, relu6; conv2d g4 oc4 kernel 3 pad 1;"
        "conv2d oc2 kernel 1 + residual from 0"
    )
    names = [name for name, _ in c.weights]
    assert names == ["weight of step 1", "bias of step 1", "weight of step 2", "weight of step 3"]
    random = np.random.default_rng(2)
    x = random.standard_normal((1, 2, 8, 8)).astype("f4")
    w = [random.standard_normal(shape).astype("f4") for _, shape in c.weights]
    y = convc.conv2d(x, w[0], w[1]).clip(0, 6)
    y = convc.conv2d(convc.conv2d(y, w[2], padding=1, groups=4), w[3]) + x
    np.testing.assert_array_equal(c(x, *w), y)
    add = convc.compile("conv1d f64 in 4 kernel 1 + residual").pack(np.ones((1, 1, 1)))
    four = np.arange(4.0)[None, None]
    np.testing.assert_array_equal(add(four, residual=four), 2 * four)
    with pytest.raises(ValueError, match="adds a residual, but none was given"):
        add(four)


def test_pooling_has_no_weights() -> None:
    x = np.random.default_rng(4).standard_normal((1, 2, 9, 8)).astype("f4")
    pool = convc.compile("maxpool2d ic2 in 9x8 kernel 3x2 stride 3x2")
    assert pool.weights == []
    np.testing.assert_array_equal(pool(x), x.reshape(1, 2, 3, 3, 4, 2).max((3, 5)))
    said = {"in_channels": 2, "input": (9, 8), "kernel": 3, "padding": 1}
    mean = convc.compile("avgpool2d", count_include_pad=True, **said)(x)
    np.testing.assert_allclose(
        mean, convc.uniform_filter(x, 3, mode="constant", axes=(2, 3)), atol=1e-6
    )
    c = convc.compile("conv2d ic2 oc3 in 9x8 kernel 3 pad 1 + bias; maxpool2d kernel 2 stride 2")
    w, b = np.ones((3, 2, 3, 3), "f4"), np.ones(3, "f4")
    y = convc.conv2d(x, w, b, padding=1)[:, :, :8]
    np.testing.assert_array_equal(c(x, w, b), y.reshape(1, 3, 4, 2, 4, 2).max((3, 5)))


def test_free_sizes() -> None:
    c = convc.compile("conv2d nN ic2 in HxW kernel 3 pad 1")
    assert (c.input_shape, c.output_shape) == (("N", 2, "H", "W"), None)
    w = np.ones((1, 2, 3, 3), "f4")
    packed = c.pack(w)
    for n, h, wide in ((1, 3, 4), (2, 5, 3), (1, 3, 4)):
        x = np.ones((n, 2, h, wide), "f4")
        np.testing.assert_array_equal(packed(x), convc.conv2d(x, w, padding=1))
    with pytest.raises(ValueError, match="x has shape"):
        packed(np.ones((1, 3, 4, 4), "f4"))
    with pytest.raises(ValueError, match="x has 3 axes"):
        packed(np.ones((1, 3, 4), "f4"))
    with pytest.raises(ValueError, match="input"):
        packed(np.ones((1, 2, 0, 4), "f4"))


def test_weights_compiled_in() -> None:
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])[None, None]
    c = convc.compile("conv2d f64 in 9 kernel 3 pad 1", weights=sobel)
    assert c.weights == []
    x = np.random.default_rng(3).random((1, 1, 9, 9))
    np.testing.assert_array_equal(c(x), convc.conv2d(x, sobel.astype("f8"), padding=1))
    assert "4 of them 1 or -1" in c.explain()
    two = convc.compile(
        "conv1d f64 in 5 kernel 1 + bias; conv1d kernel 1",
        weights=[(np.full((1, 1, 1), 2.0), [1.0]), None],
    )
    y = two(np.ones((1, 1, 5)), np.ones((1, 1, 1)))
    assert (y == 3).all()
    out = np.empty((1, 1, 9, 9))
    assert c(x, out=out) is out and (out == c.pack()(x)).all()
    with pytest.raises(TypeError, match="1 arrays were given, but the program takes none"):
        c(x, sobel)
    with pytest.raises(ValueError, match="weight has 4 elements"):
        convc.compile("conv2d in 9 kernel 3", weights=np.ones(4))


@pytest.mark.parametrize(
    ("kind", "sentence", "call"),
    [
        (
            ValueError,
            "did you mean `stride`",
            lambda: convc.compile("conv2d in 8 kernel 3 strid 2"),
        ),
        (ValueError, "window 9 is wider", lambda: convc.compile("conv2d in 8 kernel 9")),
        (ValueError, "threads", lambda: convc.compile(STEM, threads=0)),
        (TypeError, "bias is missing", lambda: convc.compile(STEM).pack(arrays()[1])),
        (
            TypeError,
            "1 arrays were given",
            lambda: convc.compile("conv1d in 8 kernel 3, relu; conv1d kernel 1").pack(arrays()[1]),
        ),
        (
            ValueError,
            "weight has shape",
            lambda: convc.compile(STEM).pack(arrays()[1][:4], arrays()[2]),
        ),
        (ValueError, "x has shape", lambda: convc.compile(STEM)(arrays()[0][:, :2], *arrays()[1:])),
        (
            TypeError,
            "x holds float64",
            lambda: convc.compile(STEM)(arrays()[0].astype("f8"), *arrays()[1:]),
        ),
        (
            TypeError,
            "x holds >f4",
            lambda: convc.compile(STEM)(arrays()[0].astype(">f4"), *arrays()[1:]),
        ),
        (
            TypeError,
            "out holds",
            lambda: convc.compile(STEM)(*arrays(), out=np.ones((1, 8, 16, 16))),
        ),
        (
            ValueError,
            "out has shape",
            lambda: convc.compile(STEM)(*arrays(), out=np.ones((8, 16, 16), "f4")),
        ),
        (
            TypeError,
            "pickle `.compiled`",
            lambda: pickle.dumps(convc.compile(STEM).pack(*arrays()[1:])),
        ),
    ],
)
def test_mistakes(kind: type[Exception], sentence: str, call: Any) -> None:
    with pytest.raises(kind, match=sentence):
        call()


def test_the_compiled_half_takes_no_other_memory() -> None:
    native = convc.compile("conv1d in 6 kernel 1").pack(np.ones((1, 1, 1), "f4"))._native
    x, out = np.zeros((2, 6), "f4"), np.zeros(6, "f4")
    for wrong, kind in (
        (x[:, ::2], ValueError),
        (x[0].astype("f8"), TypeError),
        ([0.0] * 6, TypeError),
        (x[0, :5], ValueError),
    ):
        with pytest.raises(kind):
            native.run(wrong, out)
    with pytest.raises(ValueError, match="shares memory"):
        native.run(x[0], x[0])
    out.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        native.run(x[0], out)


def test_a_pickle_is_the_description() -> None:
    x, w, b = arrays()
    c = convc.compile(STEM, threads=2, accuracy="fast")
    again = pickle.loads(pickle.dumps(c))
    assert again.text == c.text and again._said == (2, "fast") and len(pickle.dumps(c)) < 400
    np.testing.assert_array_equal(again(x, w, b), c(x, w, b))
    known = convc.compile("conv1d in 5 kernel 3", weights=[[[1.0, 2.0, 3.0]]])
    assert pickle.loads(pickle.dumps(known))(np.ones((1, 1, 5), "f4")).tolist() == [[[6, 6, 6]]]


def test_what_is_shown() -> None:
    c = convc.compile(STEM)
    assert repr(c).startswith("convc.compile('conv2d f32 n1 g1 ic3 oc8 in 32x32")
    assert "schedule" in c.explain() and "target" in c.explain()
    assert c._repr_html_().count("#2a6fb0") == 49
    dilated = convc.compile("conv1d in 9 kernel 3 dilation 2")
    assert dilated._repr_html_().count("#2a6fb0") == 3 and dilated._repr_html_().count("<rect") == 5


def test_eight_threads_call_one_object() -> None:
    _, w, b = arrays()
    packed = convc.compile(STEM, threads=2).pack(w, b)
    inputs = [arrays(seed)[0] for seed in range(8)]
    wanted = [packed(x) for x in inputs]

    def often(at: int) -> bool:
        return all((packed(inputs[at]) == wanted[at]).all() for _ in range(50))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(often, range(8)))


def _child(queue: Any, packed: Any, x: Any) -> None:
    queue.put((packed(x, threads=2).sum(), convc.gaussian_filter(x[0, 0], 1.0, threads=2).sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_threads_were_used() -> None:
    x, w, b = arrays()
    packed = convc.compile(STEM).pack(w, b)
    wanted = packed(x, threads=2).sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue, packed, x), daemon=True)
    child.start()
    assert queue.get(timeout=60)[0] == wanted
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks_while_another_thread_compiles() -> None:
    """A child waits for no lock that a thread held which is not there."""
    code = (
        "import convc, itertools, numpy as np, os, signal, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "def often():\n"
        "    for n in itertools.count(8):\n"
        "        convc.compile(f'conv1d in {n} kernel 3').pack(np.ones((1, 1, 3), 'f4'))\n"
        "        convc.correlate1d(np.ones(n), [1.0, 2.0])\n"
        "for _ in range(2): threading.Thread(target=often, daemon=True).start()\n"
        "for n in range(60):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        signal.alarm(20)\n"
        "        assert convc.correlate1d(np.ones(5 + n), [1.0, 2.0]).sum() > 0\n"
        "        convc.compile(f'conv1d in {n + 10**6} kernel 3')\n"
        "        os._exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0, n\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=240, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_interpreter_exits_while_a_thread_computes() -> None:
    code = (
        "import convc, numpy as np, threading\n"
        "c = convc.compile('conv2d in 600 kernel 9').pack(np.ones((1, 1, 9, 9), 'f4'))\n"
        "x = np.ones((1, 1, 600, 600), 'f4')\n"
        "def run():\n"
        "    while True: c(x, threads=2)\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "import time; time.sleep(0.2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read in /proc")
def test_many_calls_do_not_grow() -> None:
    x, w = np.ones((1, 1, 16), "f4"), np.ones((1, 1, 3), "f4")
    c = convc.compile("conv1d in 16 kernel 3 pad 1")
    packed, window, line = c.pack(w), np.ones(3), np.ones(16, "f4")

    def some(calls: int) -> None:
        for _ in range(calls):
            packed(x)
            convc.correlate1d(line, window)
        for _ in range(calls // 20):
            c(x, w)
            convc.correlate1d(line[::2], window, output=np.float64)

    some(20_000)
    before = resident()
    some(100_000)
    assert resident() - before < 4 << 20


def test_code_that_is_kept_is_bounded() -> None:
    for size in range(1, 300):
        convc.correlate1d(np.ones(size), [1.0, 2.0])
    assert convc._filter._code.cache_info().currsize <= 256
