#!/usr/bin/env python3
"""Makes tests/data/images: small image files of every kind, and what they must decode and resize to.

    python3 tests/data/make_images.py          (needs numpy, Pillow and OpenCV)

Truth comes from Pillow and OpenCV (made with Pillow 9.4 and OpenCV 4.6), or from the samples that went into
a file, never from Strata. Each NAME.EXT has its upright RGB pixels in NAME.EXT.ppm. The tables hold FNV-1a
hashes of pixels that cv2.resize and Image.resize give for parts of examples/scene.png.
"""
import io
import math
import os
import random
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "images")
SCENE = os.path.join(HERE, "..", "..", "examples", "scene.png")
W, H = 29, 19


def sample(depth=255):
    """Smooth colours, a bar and a disc: edges that say which way is up."""
    y, x = np.mgrid[0:H, 0:W].astype(float)
    img = np.stack([x / (W - 1), y / (H - 1), (x + 2 * y) / (W + 2 * H - 3)], -1)
    img[2:5, 3:20] = [0.9, 0.2, 0.1]
    img[(x - 21) ** 2 + (y - 12) ** 2 < 20] = [0.1, 0.3, 0.95]
    return np.rint(img * depth).astype(np.uint16 if depth > 255 else np.uint8)


def write(name, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)


def expect(name, rgb):
    rgb = np.ascontiguousarray(rgb, np.uint8)
    write(name + ".ppm", b"P6\n%d %d\n255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes())


def encode(img, **options):
    f = io.BytesIO()
    img.save(f, **options)
    return f.getvalue()


def upright(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


# ---- JPEG ------------------------------------------------------------------------------------------


def exif(orientation, big=True):
    e = ">" if big else "<"
    tiff = (b"MM" if big else b"II") + struct.pack(e + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"Exif\0\0" + tiff


def segment(marker, body):
    return struct.pack(">BBH", 255, marker, len(body) + 2) + body


def insert(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def without(jpeg, marker):
    """The file without its segments of that marker."""
    out, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        size = struct.unpack(">H", jpeg[at + 2:at + 4])[0] + 2
        if jpeg[at + 1] != marker:
            out += jpeg[at:at + size]
        at += size
    return out + jpeg[at:]


def adobe(transform):
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def make_jpeg():
    img = Image.fromarray(sample())
    base = encode(img, format="JPEG", quality=88)
    files = {
        "rgb.jpg": base,
        "rgb444.jpg": encode(img, format="JPEG", quality=92, subsampling=0),
        "progressive.jpg": encode(img, format="JPEG", quality=88, progressive=True),
        "gray.jpg": encode(img.convert("L"), format="JPEG", quality=90),
    }
    # Adobe's transform 0: the three components are RGB themselves.
    files["rgb_adobe.jpg"] = insert(without(files["rgb444.jpg"], 0xE0), adobe(0))
    for i in range(1, 9):
        files["exif%d.jpg" % i] = insert(base, segment(0xE1, exif(i, big=i % 2 == 0)))
    for name, data in files.items():
        write(name, data)
        expect(name, upright(data))

    cmyk = img.convert("CMYK")
    k = np.asarray(cmyk).copy()
    k[..., 3] = np.minimum(k[..., 3].astype(int) + 60, 255)
    cmyk = Image.fromarray(k, "CMYK")
    inverted = encode(cmyk, format="JPEG", quality=92)  # Pillow writes Adobe's form
    write("cmyk_adobe.jpg", inverted)
    expect("cmyk_adobe.jpg", upright(inverted))
    ycck = without(inverted, 0xEE)[:2] + adobe(2) + without(inverted, 0xEE)[2:]
    write("ycck.jpg", ycck)
    expect("ycck.jpg", upright(ycck))
    # Without Adobe's marker 255 is full ink. The stored samples are the complement of what Pillow was given,
    # so Pillow's reading of this file, which always assumes Adobe, is complemented back.
    plain = without(encode(Image.fromarray(255 - k, "CMYK"), format="JPEG", quality=92), 0xEE)
    write("cmyk_plain.jpg", plain)
    ink = 255 - np.asarray(Image.open(io.BytesIO(plain)))
    expect("cmyk_plain.jpg", Image.fromarray(ink, "CMYK").convert("RGB"))


# ---- PNG -------------------------------------------------------------------------------------------


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pack(rows, depth):
    """Samples [h, w, c] as scan lines, each with filter 0."""
    out = b""
    for row in rows:
        flat = row.reshape(-1)
        if depth == 16:
            line = flat.astype(">u2").tobytes()
        elif depth == 8:
            line = flat.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(v, "0%db" % depth) for v in flat)
            bits += "0" * (-len(bits) % 8)
            line = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + line
    return out


def png(samples, depth, kind, interlace=False, extra=b""):
    h, w = samples.shape[:2]
    samples = samples.reshape(h, w, -1)
    if interlace:
        raw = b""
        for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                             (1, 0, 2, 2), (0, 1, 1, 2)]:
            part = samples[y::dy, x::dx]
            if part.size:
                raw += pack(part, depth)
    else:
        raw = pack(samples, depth)
    head = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw, 9))
            + chunk(b"IEND", b""))


def over_black(rgb, alpha):
    return np.floor(rgb.astype(float) * alpha[..., None] / 255 + 0.5)


def make_png():
    rgb, gray = sample(), sample()[..., 1]
    alpha = np.rint(np.mgrid[0:H, 0:W][1] * 255 / (W - 1)).astype(np.uint8)
    deep = sample(65535)
    deep_alpha = (alpha.astype(np.uint16) << 8) + 77
    three = lambda g: np.repeat(g[..., None], 3, -1)
    index = (np.mgrid[0:H, 0:W][0] // 3 + np.mgrid[0:H, 0:W][1] // 5) % 7
    colors = np.array([[250, 10, 20], [5, 240, 60], [30, 40, 200], [0, 0, 0], [255, 255, 255], [90, 200, 220],
                       [128, 64, 32]], np.uint8)
    clear = np.array([255, 128, 0, 200], np.uint8)  # of the first four colours
    opaque = np.concatenate([clear, [255] * 3]).astype(np.uint8)
    plte, trns = chunk(b"PLTE", colors.tobytes()), chunk(b"tRNS", clear.tobytes())
    key = rgb[3, 4]  # a colour of the bar is transparent
    keyed = np.where((rgb == key).all(-1), 0, 255).astype(np.uint8)

    def put(name, data, pixels):
        write(name, data)
        expect(name, pixels)

    put("rgb.png", png(rgb, 8, 2), rgb)
    put("rgb_interlaced.png", png(rgb, 8, 2, True), rgb)
    put("gray1.png", png(gray // 128, 1, 0), three(gray // 128 * 255))
    put("gray2.png", png(gray // 64, 2, 0), three(gray // 64 * 85))
    put("gray4_interlaced.png", png(gray // 16, 4, 0, True), three(gray // 16 * 17))
    put("gray8.png", png(gray, 8, 0), three(gray))
    put("gray16.png", png(deep[..., 1], 16, 0), three(deep[..., 1] >> 8))
    put("rgb16.png", png(deep, 16, 2), deep >> 8)
    put("rgba16.png", png(np.dstack([deep, deep_alpha]), 16, 6), over_black(deep >> 8, alpha))
    put("rgba.png", png(np.dstack([rgb, alpha]), 8, 6), over_black(rgb, alpha))
    put("rgba_interlaced.png", png(np.dstack([rgb, alpha]), 8, 6, True), over_black(rgb, alpha))
    put("gray_alpha.png", png(np.dstack([gray, alpha]), 8, 4), over_black(three(gray), alpha))
    put("palette4.png", png(index, 4, 3, extra=plte), colors[index])
    put("palette_alpha.png", png(index, 8, 3, extra=plte + trns), over_black(colors[index], opaque[index]))
    put("rgb_key.png", png(rgb, 8, 2, extra=chunk(b"tRNS", key.astype(">u2").tobytes())),
        over_black(rgb, keyed))
    put("exif6.png", png(rgb, 8, 2, extra=chunk(b"eXIf", exif(6)[6:])), np.rot90(rgb, -1))


# ---- WebP ------------------------------------------------------------------------------------------


def make_webp():
    rgb = sample()
    alpha = np.rint(np.mgrid[0:H, 0:W][0] * 255 / (H - 1)).astype(np.uint8)
    rgba = Image.fromarray(np.dstack([rgb, alpha]), "RGBA")
    img = Image.fromarray(rgb)

    def put(name, data, pixels=None):
        write(name, data)
        if pixels is None:
            decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
            pixels = over_black(decoded[..., :3], decoded[..., 3])
        expect(name, pixels)

    put("lossy.webp", encode(img, format="WEBP", quality=85))
    put("lossless.webp", encode(img, format="WEBP", lossless=True), rgb)
    put("lossless_alpha.webp", encode(rgba, format="WEBP", lossless=True, exact=True), over_black(rgb, alpha))
    put("lossy_alpha.webp", encode(rgba, format="WEBP", quality=85))
    put("exif8.webp", encode(img, format="WEBP", lossless=True, exif=exif(8)), np.rot90(rgb))
    put("animated.webp", encode(img, format="WEBP", lossless=True, save_all=True,
                                append_images=[Image.fromarray(255 - rgb)]), rgb)


# ---- Resizing and preprocessing --------------------------------------------------------------------


def fnv(pixels):
    h = 0xcbf29ce484222325
    for b in np.ascontiguousarray(pixels).tobytes():
        h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    return "%016x" % h


CV = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
PIL = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def resize(pixels, size, how, flavour):
    if flavour == "mindcv":
        return cv2.resize(pixels, size, interpolation=CV[how])
    return np.asarray(Image.fromarray(pixels).resize(size, PIL[how]))


def make_resize(scene):
    rng = random.Random(1)
    sizes = [(64, 48, 32, 24), (64, 48, 64, 48), (61, 47, 61, 20), (1, 1, 5, 3), (40, 1, 13, 7),
             (1, 40, 3, 77), (200, 150, 1, 1), (300, 260, 7, 9), (5, 4, 60, 50), (33, 33, 66, 66), (66, 66, 33, 32)]
    sizes += [tuple(rng.randint(1, 120) for _ in range(4)) for _ in range(13)]
    cases = [(rng.randint(0, 640 - w), rng.randint(0, 480 - h), w, h, dw, dh) for w, h, dw, dh in sizes]
    # Parts with exact halves where OpenCV's bicubic rounds one way in full vectors of eight elements and
    # another way in the rest of a row: found by looking where vectors of 4, of 16, or of any length give other
    # bytes.
    cases += [(507, 108, 7, 1, 14, 2), (595, 400, 10, 1, 20, 1), (416, 227, 5, 1, 10, 1),
              (98, 452, 1, 6, 8, 48), (399, 258, 1, 3, 2, 6), (5, 124, 3, 3, 12, 24), (491, 267, 5, 3, 10, 12),
              (219, 271, 1, 6, 4, 12)]
    lines = ["# flavour interpolation, part of the scene (x y width height), result (width height), hash"]
    for x, y, w, h, dw, dh in cases:
        part = np.ascontiguousarray(scene[y:y + h, x:x + w])
        for flavour in ("mindcv", "pillow"):
            for how in ("bilinear", "bicubic"):
                lines.append("%s %s %d %d %d %d %d %d %s" % (flavour, how, x, y, w, h, dw, dh,
                                                             fnv(resize(part, (dw, dh), how, flavour))))
    write("resize.txt", ("\n".join(lines) + "\n").encode())


def preprocess(pixels, height, width, crop_pct, how, flavour):
    h, w = pixels.shape[:2]
    ch, cw = math.floor(height / crop_pct), math.floor(width / crop_pct)
    if w * ch <= h * cw:  # the width is tight
        other = lambda: (int(math.floor(float(np.float32(h) / np.float32(w) * np.float32(cw)) + 0.5))
                         if flavour == "mindcv" else int(cw * h / w))
        size = cw, other()
    else:
        other = lambda: (int(math.floor(float(np.float32(w) / np.float32(h) * np.float32(ch)) + 0.5))
                         if flavour == "mindcv" else int(ch * w / h))
        size = other(), ch
    full = resize(pixels, size, how, flavour)
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2  # Python's // floors
    y0, x0 = max(-top, 0), max(-left, 0)
    part = full[max(top, 0):, max(left, 0):][:height - y0, :width - x0]
    out[y0:y0 + part.shape[0], x0:x0 + part.shape[1]] = part
    return out


def make_preprocess(scene):
    rng = random.Random(2)
    cases = [(640, 480, 224, 224, 0.875), (480, 480, 64, 64, 1.0), (3, 180, 48, 48, 0.875),
             (200, 3, 40, 40, 0.9), (640, 480, 96, 160, 0.9), (100, 300, 96, 160, 0.95),
             (97, 131, 33, 33, 1.25), (131, 97, 31, 50, 1.3),
             (1, 1, 8, 8, 0.875), (333, 250, 72, 40, 0.96)]
    cases += [(rng.randint(8, 400), rng.randint(8, 400), rng.randint(16, 96), rng.randint(16, 96),
               rng.choice([0.875, 0.9, 0.95, 1.0])) for _ in range(8)]
    lines = ["# flavour interpolation, part of the scene (x y width height), record (height width crop_pct),"
             " hash"]
    for w, h, height, width, crop in cases:
        x, y = rng.randint(0, 640 - w), rng.randint(0, 480 - h)
        part = np.ascontiguousarray(scene[y:y + h, x:x + w])
        for flavour in ("mindcv", "pillow"):
            for how in ("bilinear", "bicubic"):
                lines.append("%s %s %d %d %d %d %d %d %g %s" % (
                    flavour, how, x, y, w, h, height, width, crop,
                    fnv(preprocess(part, height, width, crop, how, flavour))))
    write("preprocess.txt", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    make_jpeg()
    make_png()
    make_webp()
    scene_pixels = np.asarray(Image.open(SCENE).convert("RGB"))
    make_resize(scene_pixels)
    make_preprocess(scene_pixels)
