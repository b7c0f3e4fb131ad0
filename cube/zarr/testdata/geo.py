"""Opens the group of a georeferenced variable with four programs, as their
users would, and checks that each sees the same.

usage: geo.py DIR    (DIR/static, DIR/series, and their values beside them)
"""
import sys
from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401
import tensorstore as ts
import xarray as xr
import zarr
from rasterio.crs import CRS

root = sys.argv[1]
wkt = Path(root, "crs.wkt").read_text()


def values(name, dtype, shape):
    return np.frombuffer(Path(root, name + ".bin").read_bytes(), dtype).reshape(shape)


def same(got, want, what):
    got = np.asarray(got)
    assert got.shape == want.shape and got.dtype == want.dtype, (what, got.shape, got.dtype, want.shape, want.dtype)
    assert got.tobytes() == want.tobytes(), what


def every_array(group, want):
    """zarr-python and tensorstore, array by array."""
    opened = zarr.open_group(f"{root}/{group}", mode="r")
    assert opened.metadata.consolidated_metadata is not None
    assert sorted(opened.array_keys()) == sorted(want), list(opened.array_keys())
    for name, w in want.items():
        same(opened[name][...], w, (group, name, "zarr"))
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{root}/{group}/{name}/"}}
        same(ts.open(spec, open=True, read=True).result().read().result(), w, (group, name, "tensorstore"))


y, x = values("y", "f8", (37,)), values("x", "f8", (53,))
dem = values("dem", "i2", (37, 53))
every_array("static", {"dem": dem, "y": y, "x": x, "spatial_ref": np.int32(0)})

ds = xr.open_zarr(f"{root}/static", mask_and_scale=False)
assert ds.dem.dims == ("y", "x"), ds.dem.dims
same(ds.dem.values, dem, "xarray dem")
same(ds.y.values, y, "xarray y")
same(ds.x.values, x, "xarray x")
masked = xr.open_zarr(f"{root}/static").dem
assert int(masked.isnull().sum()) == int((dem == -32768).sum()) > 0
assert masked.rio.crs.to_epsg() == 32610, masked.rio.crs
assert masked.rio.crs == CRS.from_wkt(wkt)
assert masked.rio.encoded_nodata == -32768, masked.rio.encoded_nodata
assert tuple(masked.rio.transform())[:6] == (300.0, 0.0, 531783.25, 0.0, -300.0, 4280398.5), masked.rio.transform()
assert masked.rio.bounds() == (531783.25, 4280398.5 - 37 * 300, 531783.25 + 53 * 300, 4280398.5)

time = np.arange(24, dtype="i8")
t2m = values("t2m", "f4", (24, 37, 53))
every_array("series", {"t2m": t2m, "time": time, "y": y, "x": x, "spatial_ref": np.int32(0)})
ds = xr.open_zarr(f"{root}/series")
assert ds.t2m.dims == ("time", "y", "x"), ds.t2m.dims
same(ds.t2m.values, t2m, "xarray t2m")
assert str(ds.time.values[3]) == "2020-09-27T14:00:00.000000000", ds.time.values[3]
assert ds.rio.crs.to_epsg() == 32610 and ds.t2m.rio.crs.to_epsg() == 32610
assert int(ds.t2m.isnull().sum()) == int(np.isnan(t2m).sum()) > 0
assert ds.t2m.attrs["units"] == "K" and ds.t2m.rio.x_dim == "x"
