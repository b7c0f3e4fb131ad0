"""Reads arrays with another program and compares them, byte for byte.

usage: check.py zarr|tensorstore DIR

DIR/cases.json lists arrays: the folder of each, its data type, its shape and
the file of the C-order little-endian values that it must hold.
"""
import json
import sys
from pathlib import Path

import numpy as np

program, root = sys.argv[1:]


def read_zarr(path, case):
    import warnings

    import zarr

    warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3 specification")
    return zarr.open_array(path, mode="r", zarr_format=case["format"])[...]


def read_tensorstore(path, case):
    import tensorstore as ts

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path + "/"}}
    return ts.open(spec, open=True, read=True).result().read().result()


read = {"zarr": read_zarr, "tensorstore": read_tensorstore}[program]
bad = 0
for case in json.loads(Path(root, "cases.json").read_text()):
    if program in case["skip"]:
        continue
    want = Path(root, case["name"] + ".bin").read_bytes()
    try:
        values = np.asarray(read(f"{root}/{case['name']}", case))
        if values.dtype.byteorder == ">":
            values = values.astype(values.dtype.newbyteorder("<"))
        got, shape = values.tobytes(order="C"), list(values.shape)
    except Exception as e:
        print(f"{case['name']}: {type(e).__name__}: {e}")
        bad += 1
        continue
    if shape != case["shape"] or got != want:
        print(f"{case['name']}: shape {shape}, values differ")
        bad += 1
sys.exit(bad and 1)
