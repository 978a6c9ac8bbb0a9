#!/usr/bin/env python3
"""Resizes random images to random sizes with libstrata, OpenCV and Pillow and compares every byte.

    python3 tests/live_resize.py LIBSTRATA [SEED]

Skipped (exit 77) where numpy, OpenCV or Pillow is missing. The arithmetic compared is that of OpenCV 4 and
Pillow 9 and later.
"""
import ctypes
import os
import random
import sys
import time

try:
    import cv2
    import numpy as np
    from PIL import Image
except ImportError as missing:
    # Another interpreter may have them: a distribution's own, behind a newer one in PATH.
    other = "/usr/bin/python3"
    if os.path.exists(other) and os.path.realpath(sys.executable) != os.path.realpath(other):
        os.execv(other, [other] + sys.argv)
    print("skipped:", missing)
    sys.exit(77)

CASES = 400
lib = ctypes.CDLL(sys.argv[1])
POINTER = ctypes.c_void_p
lib.strata_image_pixels.restype = POINTER
for function in (lib.strata_image_pixels, lib.strata_image_destroy):
    function.argtypes = [POINTER]


def resize(pixels, width, height, how, flavour):
    src, dst = POINTER(), POINTER()
    h, w = pixels.shape[:2]
    assert lib.strata_image_create(w, h, POINTER(pixels.ctypes.data), ctypes.byref(src), None) == 0
    assert lib.strata_image_resize(src, width, height, how, flavour, ctypes.byref(dst), None) == 0
    buffer = ctypes.string_at(lib.strata_image_pixels(dst), width * height * 3)
    lib.strata_image_destroy(src)
    lib.strata_image_destroy(dst)
    return np.frombuffer(buffer, np.uint8).reshape(height, width, 3)


def random_size(rng):
    return rng.randint(1, rng.choice([6, 40, 150, 600]))


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed", seed, "OpenCV", cv2.__version__, "Pillow", Image.__version__)
    rng = random.Random(seed)
    for case in range(CASES):
        w, h, width, height = (random_size(rng) for _ in range(4))
        if case % 10 == 0:
            w, h = 2 * width, 2 * height
        pixels = np.frombuffer(rng.randbytes(w * h * 3), np.uint8).reshape(h, w, 3).copy()
        if case % 3 == 0:
            pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)  # overshoots most
        for how, cv, pil in ((0, cv2.INTER_LINEAR, Image.BILINEAR), (1, cv2.INTER_CUBIC, Image.BICUBIC)):
            for flavour, want in ((0, cv2.resize(pixels, (width, height), interpolation=cv)),
                                  (1, np.asarray(Image.fromarray(pixels).resize((width, height), pil)))):
                got = resize(pixels, width, height, how, flavour)
                if not np.array_equal(got, want):
                    at = tuple(np.argwhere(got != want)[0])
                    sys.exit("case %d: %dx%d to %dx%d, %s %s: at (y, x, c) = %s: %d, not %d" % (
                        case, w, h, width, height, ("mindcv", "pillow")[flavour],
                        ("bilinear", "bicubic")[how], at, got[at], want[at]))
    print(CASES, "cases equal")


if __name__ == "__main__":
    main()
