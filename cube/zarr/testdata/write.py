"""Writes arrays with another program, for Go to read.

usage: write.py zarr|tensorstore DIR

DIR/cases.json lists arrays: the folder of each, its zarr.json, and the file of
the C-order little-endian values that it is to hold. The array is created from
the very metadata, and written whole.
"""
import json
import sys
from pathlib import Path

import numpy as np

program, root = sys.argv[1:]


def write_zarr(path, meta, values):
    import zarr

    Path(path).mkdir(parents=True)
    Path(path, "zarr.json").write_text(json.dumps(meta))
    array = zarr.open_array(path, mode="r+", zarr_format=3)
    array[...] = values.reshape(array.shape)


def write_tensorstore(path, meta, values):
    import tensorstore as ts

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path + "/"}, "metadata": {k: meta[k] for k in meta if k not in ("zarr_format", "node_type", "attributes")}}
    array = ts.open(spec, create=True).result()
    array.write(values.reshape(array.shape)).result()


write = {"zarr": write_zarr, "tensorstore": write_tensorstore}[program]
numpy_names = {"bool": "?", "r16": "V2"}
bad = 0
for case in json.loads(Path(root, "cases.json").read_text()):
    if program in case["skip"]:
        continue
    try:
        values = np.fromfile(f"{root}/{case['name']}.bin", dtype=numpy_names.get(case["dtype"], case["dtype"]))
        write(f"{root}/{program}/{case['name']}", case["meta"], values)
    except Exception as e:
        print(f"{case['name']}: {type(e).__name__}: {e}")
        bad += 1
sys.exit(bad and 1)
