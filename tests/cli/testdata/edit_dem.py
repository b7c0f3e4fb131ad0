"""Adds to one pixel of a raster: edit_dem.py FILE ROW COLUMN METRES."""

import sys

import rasterio

path, row, col, add = sys.argv[1], *map(int, sys.argv[2:])
with rasterio.open(path) as f:
    profile, values = f.profile, f.read(1)
values[row, col] += add
with rasterio.open(path, "w", **profile) as f:
    f.write(values, 1)
