"""Writes a raster with something wrong: spoil_dem.py GOOD BAD WHAT."""

import os
import sys

import rasterio

good, bad, what = sys.argv[1:]
with rasterio.open(good) as f:
    profile, values = f.profile, f.read(1)
profile = {**profile, "compress": None}
if what == "nocrs":
    profile["crs"] = None
if what == "utm":
    profile["crs"] = "EPSG:32613"
if what == "bands":
    profile["count"] = 3
if what == "empty":
    values[:] = profile["nodata"]
with rasterio.open(bad, "w", **profile) as f:
    for band in range(profile["count"]):
        f.write(values, band + 1)
if what == "truncate":
    os.truncate(bad, os.path.getsize(bad) // 2)
