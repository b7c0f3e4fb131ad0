"""Makes a field of cell numbers, as programs do that are written for one tile."""

import json

import numpy as np

with open("/cube/request.json", encoding="utf-8") as f:
    request = json.load(f)
tile = request["tile"]
rows = np.arange(tile["y"]["lo"], tile["y"]["hi"], dtype="<f4")[:, None]
cols = np.arange(tile["x"]["lo"], tile["x"]["hi"], dtype="<f4")
np.save(request["outputs"]["field"]["file"], rows * 160 + cols)
print("tile", tile["y"]["lo"], tile["x"]["lo"])
