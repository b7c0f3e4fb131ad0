"""Makes a field of cell numbers, of one tile after the other."""

import json

import numpy as np
from cube_serve import serve


def tile():
    with open("/cube/request.json", encoding="utf-8") as f:
        request = json.load(f)
    box = request["tile"]
    rows = np.arange(box["y"]["lo"], box["y"]["hi"], dtype="<f4")[:, None]
    cols = np.arange(box["x"]["lo"], box["x"]["hi"], dtype="<f4")
    np.save(request["outputs"]["field"]["file"], rows * 160 + cols)
    print("tile", box["y"]["lo"], box["x"]["lo"])


serve(tile)
