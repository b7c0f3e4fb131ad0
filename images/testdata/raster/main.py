"""Reads a raster that it has just written, to prove that the runtime works."""
import json
import sys

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from shared import about

data = np.arange(12, dtype="float32").reshape(3, 4)
with MemoryFile() as mem:
    with mem.open(driver="GTiff", height=3, width=4, count=1, dtype="float32",
                  crs="EPSG:32613", transform=from_origin(0, 0, 250, 250)) as dst:
        dst.write(data, 1)
    with mem.open() as src:
        total = float(src.read(1).sum())
        crs = src.crs.to_epsg()
json.dump({"sum": total, "epsg": crs, "about": about(), "numpy_cached": bool(np.__cached__),
           "python": sys.version.split()[0], "rasterio": rasterio.__version__}, sys.stdout)
