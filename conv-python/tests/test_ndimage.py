"""`convc.ndimage` against `scipy.ndimage`, in random calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as scipy

import convc

from random_calls import MODES, TYPES, Calls, close, outcome, same_kind


def arguments(calls: Calls, name: str, ndim: int) -> tuple[list[Any], dict[str, Any]]:
    """What a call of that function says beside its input."""
    said: dict[str, Any] = {"mode": calls.one(MODES)}
    if said["mode"] == "constant":
        said["cval"] = calls.one([0.0, 1.5, -2.0, 1])
    axis = int(calls.random.integers(-ndim, ndim)) if ndim else -1
    if name in ("correlate", "convolve"):
        shape = calls.shape(ndim, empty=0.01)
        shape = tuple(min(n, 6) for n in shape)
        said["origin"] = [calls.origin(n) for n in shape] if calls.maybe(0.5) else 0
        whole = calls.maybe(0.7)
        if ndim > 1 and calls.maybe(0.2):
            said["axes"] = tuple(sorted(calls.random.permutation(ndim)[: ndim - 1].tolist()))
            shape = tuple(shape[a] for a in said["axes"])
            said["origin"] = 0
        weights = calls.weights(shape, whole)
        if calls.maybe(0.05):
            weights = weights + 1j * calls.weights(shape, whole)
        if calls.maybe(0.03):
            weights = weights[None]
        return [weights], said
    if name in ("correlate1d", "convolve1d"):
        size = int(calls.random.integers(0 if calls.maybe(0.02) else 1, 12))
        said["axis"], said["origin"] = axis, calls.origin(size) if size else 0
        return [calls.weights((size,), calls.maybe(0.7))], said
    if name in ("gaussian_filter1d", "gaussian_filter", "gaussian_laplace"):
        sigma = float(calls.random.uniform(0.3, 2.5))
        if name == "gaussian_filter1d":
            said["axis"] = axis
        if calls.maybe(0.3) and name != "gaussian_laplace":
            said["order"] = int(calls.random.integers(0, 4))
        if calls.maybe(0.3):
            said["truncate"] = float(calls.random.uniform(1, 5))
        if calls.maybe(0.2) and name != "gaussian_laplace":
            said["radius"] = int(calls.random.integers(0, 6))
        return [
            [sigma + a for a in range(ndim)]
            if ndim and calls.maybe(0.2) and name == "gaussian_filter"
            else sigma
        ], said
    if name in ("uniform_filter", "uniform_filter1d"):
        size = int(calls.random.integers(0 if calls.maybe(0.1) else 1, 8))
        said["origin"] = calls.origin(size) if size else 0
        if name == "uniform_filter1d":
            said["axis"] = axis
        return [size], said
    if name in ("sobel", "prewitt"):
        said["axis"] = axis
    if name in ("sobel", "prewitt", "laplace") and ndim and calls.maybe(0.2):
        said["mode"] = [calls.one(MODES) for _ in range(ndim)]
    return [], said


NAMES = convc.ndimage.__all__


def bound(name: str, args: list[Any], said: dict[str, Any], x: Any) -> tuple[float, float, int]:
    """Terms of a sum, what their absolute values add up to, and the number of passes."""
    largest = max(float(np.abs(x).max()) if x.size else 0.0, abs(said.get("cval", 0.0)))
    if name in ("correlate", "convolve", "correlate1d", "convolve1d"):
        weights = np.abs(args[0])
        return weights.size, float(weights.sum()) * largest, 1
    if name.startswith("gaussian"):
        # A derivative of order n is no larger than about (1 + radius / sigma^2)^n.
        sigma = min(args[0]) if isinstance(args[0], list) else args[0]
        order = said.get("order", 2 if name == "gaussian_laplace" else 0)
        per_axis = (1 + 6 * (sigma + 4) / sigma**2) ** order
        return 40, per_axis ** max(x.ndim, 1) * largest * max(x.ndim, 1), max(x.ndim, 1)
    gain = {"sobel": 2 * 4 ** max(x.ndim - 1, 0), "prewitt": 2 * 3 ** max(x.ndim - 1, 0)}
    return 40, gain.get(name, 4 * max(x.ndim, 1)) * largest, max(x.ndim, 1)


def check(seed: int) -> None:
    calls = Calls(seed)
    name = NAMES[seed % len(NAMES)]
    dtype = calls.one(TYPES)
    x = calls.array(calls.shape(), dtype)
    args, said = arguments(calls, name, x.ndim)
    if calls.maybe(0.2):
        said["output"] = np.dtype(calls.one(["f8", "f4", "i4", "f8"]))
        if x.dtype.kind == "c" or any(np.iscomplexobj(a) for a in args):
            said["output"] = np.dtype("c16")
    what = (seed, name, x.dtype, x.shape, x.strides, args, said)
    theirs = outcome(getattr(scipy, name), x, *args, **said)
    ours = outcome(getattr(convc, name), x, *args, **said)
    if same_kind(ours, theirs, what):
        return
    terms, size, passes = bound(name, args, said, x)
    close(ours, theirs, terms, size, what, passes)
    if ours.dtype.kind not in "fc" and ours.size:
        whole_numbers(ours, theirs, whole(x, name, args), passes, what, said)


def whole(x: Any, name: str, args: list[Any]) -> bool:
    """Whether every product is a whole number."""
    if name.startswith(("gaussian", "uniform")) or x.dtype.kind not in "biu":
        return False
    return all(bool((np.asarray(a) == np.round(a)).all()) for a in args)


def whole_numbers(
    ours: Any, theirs: Any, exact: bool, passes: int, what: Any, said: dict[str, Any]
) -> None:
    """Equal where every product is whole. Else a sum within rounding of a whole number may be cut
    to the other side, in each pass."""
    if ours.dtype.kind == "b":
        # Between passes SciPy's hold other bytes than 0 and 1.
        if passes == 1 and exact:
            np.testing.assert_array_equal(ours.view("u1"), theirs.view("u1") != 0, str(what))
        return
    if exact:
        np.testing.assert_array_equal(ours, theirs, str(what))
    elif what[1] != "gaussian_laplace" and not said.get("order"):
        modulus = 1 << (8 * ours.dtype.itemsize)
        pairs = zip(ours.ravel().tolist(), theirs.ravel().tolist())
        apart = [(a - b) % modulus for a, b in pairs]
        assert max(min(n, modulus - n) for n in apart) <= 2 * passes - 1, what


def test_random_calls(cases: int) -> None:
    for seed in range(cases):
        check(seed)


SOME = np.arange(12.0).reshape(3, 4)

WRONG = [
    ("correlate", (SOME, np.ones(3)), {}),
    ("correlate", (SOME, np.ones((3, 3))), {"mode": "mirrored"}),
    ("correlate", (SOME, np.ones((3, 3))), {"mode": ["wrap", "wrap"]}),
    ("correlate", (SOME, np.ones((3, 3))), {"origin": 2}),
    ("correlate", (SOME, np.ones((3, 3))), {"origin": 0.5}),
    ("correlate", (SOME, np.ones((3, 3))), {"origin": [0, 0, 0]}),
    ("correlate", (SOME, np.ones((3, 0))), {}),
    ("correlate", (SOME, np.ones((3, 3))), {"output": np.zeros((3, 3))}),
    ("correlate", (SOME, np.ones((3, 3))), {"output": "?"}),
    ("correlate", (SOME, np.ones((3, 3))), {"cval": 1j}),
    ("correlate", (SOME, np.ones((3, 3))), {"cval": "x"}),
    ("correlate", (SOME.astype("f2"), np.ones((3, 3))), {}),
    ("correlate", (SOME.astype("g"), np.ones((3, 3))), {}),
    ("correlate", (SOME, np.ones((3, 3)) * 1j), {"output": np.zeros((3, 4))}),
    ("correlate", (SOME, np.ones(3)), {"axes": (0, 0)}),
    ("correlate", (SOME, np.ones(3)), {"axes": (2,)}),
    ("correlate", (SOME, np.ones(3)), {"axes": 0.5}),
    ("correlate1d", (SOME, np.ones(3)), {"axis": 2}),
    ("correlate1d", (SOME, np.ones((3, 3))), {}),
    ("correlate1d", (SOME, []), {}),
    ("gaussian_filter1d", (SOME, -1.0), {}),
    ("gaussian_filter1d", (SOME, 0.0), {}),
    ("gaussian_filter1d", (SOME, 1.0), {"order": -1}),
    ("gaussian_filter1d", (SOME, 1.0), {"radius": -1}),
    ("gaussian_filter1d", (SOME, 1.0), {"radius": 1.5}),
    ("gaussian_filter", (SOME, [1.0, 1.0, 1.0]), {}),
    ("gaussian_filter", (SOME, 1.0), {"mode": ["wrap"]}),
    ("uniform_filter1d", (SOME, 0), {}),
    ("uniform_filter1d", (SOME, 3), {"origin": 2}),
    ("uniform_filter1d", (SOME, 2.5), {}),
    ("sobel", (SOME,), {"axis": 2}),
    ("sobel", (np.array(1.0),), {}),
    ("laplace", (SOME,), {"axes": (0, 5)}),
]


@pytest.mark.parametrize(("name", "args", "said"), WRONG)
def test_same_mistakes_same_exceptions(name: str, args: Any, said: Any) -> None:
    theirs = outcome(getattr(scipy, name), *args, **said)
    ours = outcome(getattr(convc, name), *args, **said)
    assert isinstance(theirs, Exception)
    assert same_kind(ours, theirs, (name, said))


def test_read_only_output() -> None:
    output = np.zeros((3, 4))
    output.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        convc.correlate(SOME, np.ones((3, 3)), output=output)


def test_in_place_and_into_a_view() -> None:
    x = np.random.default_rng(1).random((20, 30))
    wanted = scipy.gaussian_filter(x, 1.5)
    room = np.zeros((40, 30))
    convc.gaussian_filter(x, 1.5, output=room[::2])
    np.testing.assert_allclose(room[::2], wanted, rtol=1e-13)
    assert not room[1::2].any()
    assert convc.gaussian_filter(x, 1.5, output=x) is x
    np.testing.assert_allclose(x, wanted, rtol=1e-13)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_border_that_is_not_finite(value: float) -> None:
    x = SOME.astype("f4") if value == 1e300 else SOME
    ours = convc.correlate(x, np.ones((3, 3)), mode="constant", cval=value)
    theirs = scipy.correlate(x, np.ones((3, 3)), mode="constant", cval=value)
    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
    np.testing.assert_array_equal(ours[1:-1, 1:-1], theirs[1:-1, 1:-1])


def test_many_axes() -> None:
    x = np.random.default_rng(2).random((2, 3, 2, 2, 1, 2, 2, 3, 2, 2, 2))
    np.testing.assert_allclose(
        convc.sobel(x[..., 0, 0, 0]), scipy.sobel(x[..., 0, 0, 0]), atol=1e-11
    )
    for axis in (0, 5, 10):
        ours = convc.correlate1d(x, [1, 2, 3.0], axis)
        np.testing.assert_allclose(ours, scipy.correlate1d(x, [1, 2, 3.0], axis))
    with pytest.raises(ValueError, match="axes are left"):
        convc.correlate(x, np.ones((2,) * 11))


def test_a_large_window_is_packed() -> None:
    random = np.random.default_rng(3)
    x, w = random.random((40, 50)), random.random((21, 23))
    np.testing.assert_allclose(convc.convolve(x, w), scipy.convolve(x, w), rtol=1e-12)
    w[3, 4] = np.inf
    assert np.isinf(convc.convolve(x, w)).all()


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_an_inside_and_edges_have_the_bits_of_one_piece(mode: str, dtype: str) -> None:
    random = np.random.default_rng(7)
    x = random.standard_normal((1100, 1000)).astype(dtype)
    for shape in ((3, 3), (5, 5), (1, 5), (4, 2), (2, 1)):
        w = random.standard_normal(shape)
        for origin in (0, [-(shape[0] // 2), (shape[1] - 1) // 2]):
            said = {"mode": mode, "origin": origin, "cval": 0.5}
            ours = convc.correlate(x, w, **said)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(convc._edges, "_LEAST_SIZE", 1 << 40)
                np.testing.assert_array_equal(convc.correlate(x, w, **said), ours)
            scale = 1e-4 if dtype == "f4" else 1e-12
            np.testing.assert_allclose(ours, scipy.correlate(x, w, **said), atol=scale)


@pytest.mark.filterwarnings("error")
def test_weights_that_float32_does_not_hold() -> None:
    x = np.array([1e-20, 2e-20, 1e-30], "f4")
    ours = convc.correlate1d(x, [1e39, 0.0, 1.0])
    np.testing.assert_allclose(ours, scipy.correlate1d(x, [1e39, 0.0, 1.0]))
    assert np.isinf(convc.correlate1d(x, np.full(40, np.inf))).all()


def test_threads_and_accuracy() -> None:
    x = np.random.default_rng(4).random((300, 400)).astype("f4")
    w = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    one = convc.convolve(x, w)
    np.testing.assert_array_equal(convc.convolve(x, w, threads=2), one)
    np.testing.assert_allclose(convc.convolve(x, w, accuracy="fast"), one, rtol=1e-5)
    np.testing.assert_allclose(convc.convolve(x, w, accuracy="within(1e-5)"), one, rtol=1e-4)
    with pytest.raises(ValueError, match="expected `exact`"):
        convc.convolve(x, w, accuracy="best")
    for call in (
        lambda n: convc.convolve(x, w, threads=n),
        lambda n: convc.signal.convolve(x, w, threads=n),
        lambda n: convc.conv2d(x[None, None], x[None, None, :3, :3], threads=n),
    ):
        for threads in (0, -1, 1 << 70):
            with pytest.raises(ValueError, match="threads"):
                call(threads)


def test_whole_numbers_are_exact_whatever_the_accuracy() -> None:
    random = np.random.default_rng(8)
    x, w = random.integers(0, 256, (200, 210)), random.integers(0, 3, (21, 21))
    for dtype in ("u1", "i4"):
        ours = convc.correlate(x.astype(dtype), w, output=np.int64, accuracy="fast")
        np.testing.assert_array_equal(ours, scipy.correlate(x, w))


def test_a_call_that_was_met() -> None:
    x = np.random.default_rng(9).random((6, 7))
    w = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    first = convc.correlate(x, w)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convc._apply, "_computed", None)
        np.testing.assert_array_equal(convc.correlate(x, w), first)
    # Of a view, whose elements lie otherwise, and into one.
    wide = np.zeros((12, 7))
    wide[::2] = x
    np.testing.assert_array_equal(convc.correlate(wide[::2], w), first)
    assert convc.correlate(x, w, wide[1::2]).base is wide
    np.testing.assert_array_equal(wide[1::2], first)
    # Into the input, another type, another shape of the output, one that is read-only.
    y = x.copy()
    assert convc.correlate(y, w, y) is y
    np.testing.assert_array_equal(y, first)
    assert convc.correlate(x, w, "f4").dtype == np.float32
    np.testing.assert_array_equal(convc.correlate(x, w, np.zeros((6, 7), "i4")), first.astype("i4"))
    with pytest.raises(RuntimeError, match="output has shape"):
        convc.correlate(x, w, np.zeros((7, 6)))
    y.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        convc.correlate(x, w, y)
    # Weights that change, and lists.
    w[0, 0] = -1.0
    np.testing.assert_array_equal(convc.correlate(x, w.tolist()), convc.correlate(x, w))
    assert (convc.correlate(x, w) != first).any()
    # 1.0 is no origin, whatever 1 was.
    convc.correlate1d(x, [1.0, 2.0, 3.0], origin=1)
    with pytest.raises(TypeError):
        convc.correlate1d(x, [1.0, 2.0, 3.0], origin=1.0)
    with pytest.raises(TypeError):
        convc.correlate(x, w, origin=[0, 0.0])


def test_calls_that_are_kept_are_bounded() -> None:
    for size in range(1, 300):
        convc.correlate1d(np.ones(size), [1.0, 2.0])
    assert len(convc._apply._MET) <= 256


def test_nan_is_left_out() -> None:
    x = np.array([1.0, np.nan, 3.0, 4.0, np.nan, np.nan, np.nan, 8.0])
    ours = convc.correlate(x, [0.25, 0.5, 0.25], nan="normalize", mode="nearest")
    there = ~np.isnan(x)
    total = scipy.correlate(np.where(there, x, 0), [0.25, 0.5, 0.25], mode="nearest")
    weight = scipy.correlate(there.astype(float), [0.25, 0.5, 0.25], mode="nearest")
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(ours, total / weight)
    assert np.isnan(ours[5]) and np.isfinite(np.delete(ours, 5)).all()
    y = np.random.default_rng(5).random((30, 30))
    for mode in ("constant", "wrap"):
        said = {"mode": mode, "cval": 2.0}
        np.testing.assert_array_equal(
            convc.gaussian_filter(y, 2, nan="normalize", **said),
            convc.gaussian_filter(y, 2, **said),
        )
    y[3, 4] = y[10:14, 10] = np.nan
    flat = np.where(np.isnan(y), np.nan, 7.0)
    ours = convc.gaussian_filter(flat, 2, nan="normalize", mode="constant", cval=7.0)
    np.testing.assert_allclose(ours, 7.0)
    with pytest.raises(ValueError, match="divides by the sum"):
        convc.correlate(x, [1.0, 0.0, -1.0], nan="normalize")
    with pytest.raises(ValueError, match="'normalize'"):
        convc.correlate(x, [1.0], nan="omit")


def test_nan_as_astropy() -> None:
    astropy = pytest.importorskip("astropy.convolution")
    random = np.random.default_rng(6)
    x, w = random.random((25, 31)), random.random((5, 3))
    x[random.random(x.shape) < 0.2] = np.nan
    for boundary, mode in (("fill", "constant"), ("extend", "nearest"), ("wrap", "wrap")):
        theirs = astropy.convolve(x, w, boundary=boundary)
        ours = convc.convolve(x, w / w.sum(), mode=mode, nan="normalize")
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
