"""Convolutions compiled to machine code, with the manners of NumPy and SciPy.

=====================  ==========================================================================
`compile`              a description, or several in a row, as an object that is called with arrays
`convolve`, ..         the linear filters of `scipy.ndimage`: see `convc.ndimage`
`convc.signal`         `scipy.signal`'s convolutions
`conv2d`, ..           `torch.nn.functional`'s convolutions: see `convc.functional`
`max_pool2d`, ..       and its pools: see `convc.pooling`
`convc.dask`           the filters on arrays that no machine holds
=====================  ==========================================================================

>>> import numpy as np, convc
>>> convc.gaussian_filter(np.eye(3), sigma=1.0).round(3)
array([[0.502, 0.329, 0.168],
       [0.329, 0.342, 0.329],
       [0.168, 0.329, 0.502]])
"""

import os as _os

from . import _apply, _native, functional, ndimage, pooling, signal
from ._compile import Compiled, Packed, compile
from ._native import __version__
from ._zero_point import without_zero_point
from .functional import *
from .ndimage import *
from .pooling import *

__all__ = [
    "Compiled",
    "Packed",
    "__version__",
    "compile",
    "functional",
    "ndimage",
    "pooling",
    "signal",
    "without_zero_point",
    *functional.__all__,
    *ndimage.__all__,
    *pooling.__all__,
]

if hasattr(_os, "register_at_fork"):
    # Neither threads nor who holds a lock follow into a fork: it waits until calls are done, and a
    # child runs on one thread.
    _os.register_at_fork(
        before=_native.before_fork,
        after_in_parent=lambda: _native.after_fork(False),
        after_in_child=lambda: _native.after_fork(True),
    )
    _os.register_at_fork(
        before=_apply.lock.acquire,
        after_in_parent=_apply.lock.release,
        after_in_child=_apply.lock.release,
    )
