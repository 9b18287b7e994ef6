"""Arrays of other libraries: read and written where they are, and results of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convc

X = np.random.default_rng(0).random((2, 4, 9, 8), dtype="f4")
W = np.random.default_rng(1).random((6, 2, 3, 3), dtype="f4")


class Elsewhere:
    """An array of a library that knows DLPack, and nothing else of NumPy."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **said: Any) -> Any:
        return self.array.__dlpack__(**said)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Tensor(Elsewhere):
    """One of a library that takes arrays of others."""

    def __array_namespace__(self) -> Any:
        return Tensor

    @staticmethod
    def from_dlpack(array: Any) -> Tensor:
        return Tensor(np.from_dlpack(array))


class OnADevice(Elsewhere):
    """One in a memory that is not the CPU's."""

    def __dlpack__(self, **said: Any) -> Any:
        raise BufferError("not on the CPU")

    def __dlpack_device__(self) -> Any:
        return 2, 0


#: Every way in: from arrays as `of` makes them, to the result.
CALLS: dict[str, Callable[[Any], Any]] = {
    "conv2d": lambda of: convc.conv2d(of(X), of(W), groups=2),
    "conv_transpose2d": lambda of: convc.conv_transpose2d(of(X), of(W[:4])),
    "correlate": lambda of: convc.correlate(of(X[0, 0]), of(W[0, 0])),
    "gaussian_filter": lambda of: convc.gaussian_filter(of(X), 1.5, axes=(2, 3)),
    "of complex numbers": lambda of: convc.correlate(of(X[0, 0] * (1 + 1j)), W[0, 0]),
    "of whole numbers": lambda of: (
        convc.uniform_filter((X * 9).astype("u1"), 3)
        if of is np.asarray
        else convc.uniform_filter(of((X * 9).astype("u1")), 3)
    ),
    "signal.convolve": lambda of: convc.signal.convolve(of(X[0, 0]), of(W[0, 0])),
    "signal.correlate": lambda of: convc.signal.correlate(of(X[0, 0]), of(W[0, 0])),
    "signal.convolve2d": lambda of: convc.signal.convolve2d(of(X[0, 0]), W[0, 0], "same"),
    "compiled": lambda of: convc.compile("conv2d n2 g2 ic4 oc6 in 9x8 kernel 3")(of(X), of(W)),
    "packed": lambda of: convc.compile("conv2d nN g2 ic4 oc6 in HxW kernel 3").pack(of(W))(of(X)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_arrays_of_other_libraries(call: Any) -> None:
    wanted = call(np.asarray)
    assert type(wanted) is np.ndarray
    for kind, gives in ((Tensor, Tensor), (Elsewhere, np.ndarray)):
        # Twice: as it is met first, and again.
        for _ in range(2):
            made = call(kind)
            assert type(made) is gives
            np.testing.assert_array_equal(made.array if gives is Tensor else made, wanted)


def test_nothing_is_copied() -> None:
    assert np.shares_memory(convc._arrays.as_array(Elsewhere(X)), X)
    assert np.shares_memory(convc._arrays.as_given(X, Tensor(W)).array, X)


def test_results_go_where_they_should() -> None:
    layer = convc.compile("conv2d n2 g2 ic4 oc6 in 9x8 kernel 3").pack(W)
    wanted = layer(X)
    for call in (
        lambda out: layer(X, out=out),
        lambda out: layer(Tensor(X), out=out),
        lambda out: convc.conv2d(X, W, groups=2, out=out),
    ):
        room = np.zeros_like(wanted)
        out = Tensor(room)
        assert call(out) is out
        np.testing.assert_array_equal(room, wanted)
    room = np.zeros_like(X)
    out = Tensor(room)
    for _ in range(2):
        assert convc.gaussian_filter(Tensor(X), 1.0, output=out) is out
        np.testing.assert_array_equal(room, convc.gaussian_filter(X, 1.0))
    fixed = X.copy()
    fixed.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        convc.sobel(X, output=Tensor(fixed))


def test_what_is_elsewhere_is_not_fetched() -> None:
    for call in (
        lambda x: convc.sobel(x),
        lambda x: convc.conv2d(x, W, groups=2),
        lambda x: convc.compile("conv1d in 3 kernel 1").pack(np.ones((1, 1, 1), "f4"))(x),
    ):
        with pytest.raises((BufferError, RuntimeError)):
            call(OnADevice(X))


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    x, w = torch.from_numpy(X.copy()), torch.from_numpy(W.copy())
    for _ in range(2):
        made = convc.conv2d(x, w, groups=2, padding=1)
        assert isinstance(made, torch.Tensor) and made.dtype == torch.float32
        theirs = torch.nn.functional.conv2d(x, w, groups=2, padding=1)
        torch.testing.assert_close(made, theirs, rtol=1e-5, atol=1e-5)
        smooth = convc.gaussian_filter(x, 1.0, axes=(2, 3))
        np.testing.assert_array_equal(smooth, convc.gaussian_filter(X, 1.0, axes=(2, 3)))
    out = torch.empty_like(theirs)
    at = out.data_ptr()
    assert convc.conv2d(x, w, groups=2, padding=1, out=out) is out and out.data_ptr() == at
    assert torch.equal(out, made)
    # Strides of any order.
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(convc.conv2d(last, w, groups=2, padding=1), made)
    with pytest.raises(BufferError, match="detach"):
        convc.conv2d(x.requires_grad_(), w, groups=2)


def test_jax() -> None:
    jax = pytest.importorskip("jax.numpy")
    x, w = jax.asarray(X), jax.asarray(W)
    made = convc.conv2d(x, w, groups=2)
    assert type(made) is type(x)
    np.testing.assert_array_equal(made, convc.conv2d(X, W, groups=2))
