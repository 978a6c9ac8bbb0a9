"""numpy reads what strata_writer and strata_npy_write wrote. Usage: check_arrays.py TEST_ARRAYS_PROGRAM"""
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    sys.exit(77)

with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.argv[1], folder], check=True)
    for kind, dtype in (("f32", np.float32), ("f16", np.float16)):
        z = np.load(os.path.join(folder, kind + ".npz"))  # allow_pickle is off
        assert sorted(z.files) == ["layer1", "logits", "names", "record"], z.files
        assert z["layer1"].dtype == dtype and z["layer1"].shape == (3, 2, 3, 3)
        assert (z["layer1"].ravel() == np.arange(54)).all()
        assert (z["logits"] == np.arange(15).reshape(3, 5) + 0.5).all()
        assert z["names"].dtype.kind == "U" and z["names"].shape == (3,)
        assert list(z["names"]) == ["a.jpg", "bad \ufffd\ufffd(.jpg", "\u56fe.png"], z["names"]
        assert z["record"].shape == () and z["record"].dtype.kind == "U"
        assert json.loads(str(z["record"])) == {"model": "r\u00e9seau", "note": 'a "b" \U0001f600'}
    x = np.load(os.path.join(folder, "one.npy"))
    assert x.dtype == np.float32 and (x == np.arange(24).reshape(1, 2, 3, 4)).all()

    with open(os.path.join(folder, "f32.safetensors"), "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    assert (8 + size) % 8 == 0
    metadata = header.pop("__metadata__")
    assert json.loads(metadata["names"])[2] == "\u56fe.png"
    assert json.loads(metadata["record"])["model"] == "r\u00e9seau"
    begin, end = header["layer1"]["data_offsets"]
    data = np.frombuffer(raw[8 + size + begin:8 + size + end], "<f4")
    assert header["layer1"]["shape"] == [3, 2, 3, 3] and (data == np.arange(54)).all()
