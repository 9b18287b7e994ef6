"""Makes the pictures and arrays in this folder. Needs numpy, scipy and pillow; run from here: python3 make.py

The grey picture is a crop of docs/astronaut.png, so that it has smooth parts, edges and corners; results are float64 by scipy.ndimage from the
8-bit pixels, stored as float32.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

photo = Image.open("../../../docs/astronaut.png").crop((180, 60, 180 + 48, 60 + 32))
photo.save("rgb.png")
photo.convert("L").save("grey.png")
rgb = np.asarray(photo, dtype=np.float64)
grey = np.asarray(Image.open("grey.png"), dtype=np.float64)
luma = rgb @ [0.299, 0.587, 0.114]
icon = grey[8:24, 12:28]
Image.fromarray(icon.astype(np.uint8)).save("icon.png")
even = np.array([[1, 2, 3, 4], [5, 6, 7, 9]], dtype=np.float64)


def sobel(x, **border):
    return np.hypot(ndimage.sobel(x, axis=0, **border), ndimage.sobel(x, axis=1, **border))


results = {
    "sobel": sobel(grey),
    "sobel-x": ndimage.sobel(grey, axis=1),
    "sobel-y": ndimage.sobel(grey, axis=0),
    "sobel-rgb": sobel(luma),
    "gaussian": ndimage.gaussian_filter(grey, 1.5),
    "gaussian-rgb": ndimage.gaussian_filter(rgb, (1.5, 1.5, 0)),
    "gaussian-mirror": ndimage.gaussian_filter(grey, 1.5, mode="mirror"),
    "gaussian-wrap": ndimage.gaussian_filter(grey, 1.5, mode="wrap"),
    "box5": ndimage.uniform_filter(grey, 5),
    "box4": ndimage.uniform_filter(grey, 4, mode="nearest"),
    "laplacian": ndimage.laplace(grey),
    "icon": ndimage.gaussian_filter(icon, 5),
    "icon-mirror": ndimage.gaussian_filter(icon, 7, mode="mirror"),
    "icon-wrap": ndimage.gaussian_filter(icon, 9, mode="wrap"),
    "even": ndimage.correlate(grey, even, mode="constant", cval=20),
    "even-flip": ndimage.convolve(grey, even, mode="constant", cval=20),
}
for name, result in results.items():
    np.save(name + ".npy", result.astype(np.float32))
