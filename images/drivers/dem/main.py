"""Brings a raster onto the cells of a tile (operation run), or describes it (inspect)."""

import json
import sys

import numpy as np
import rasterio
from rasterio.warp import transform

from raster import ENVIRONMENT, BadInput, Raster, crs_of
from warp import METHODS, Footprint, warp

REQUEST = "/cube/request.json"
LOWEST, HIGHEST = -11500.0, 9000.0  # metres: what the surface of the Earth spans


class Lattice:
    """The cells of the request, in the coordinates of the raster."""

    def __init__(self, grid, raster):
        self._grid, self._raster = grid, raster
        self._crs = crs_of(grid["crs"], "the grid's crs")

    def place(self, rows, cols):
        """The Footprint of cells [rows) x [cols) by absolute index."""
        ry, rx = np.arange(rows[0], rows[1] + 1.0), np.arange(cols[0], cols[1] + 1.0)
        cx, cy = self._source(rx[:-1] + 0.5, ry[:-1] + 0.5)
        x, y = self._source(rx, ry)
        centre = self._raster.longitude(cx)
        if self._raster.crs.is_geographic:  # corners stay beside their centre
            x, y = _corners(x), _corners(y)
            x = centre + ((x - cx + 180.0) % 360.0 - 180.0)
        else:
            x, y = _corners(x), _corners(y)
        px, py = self._raster.pixels(centre, cy)
        return Footprint(px, py, *self._raster.pixels(x, y))

    def _source(self, col, row):
        """Coordinates in the raster's CRS of positions on the lattice."""
        g = self._grid
        x, y = np.meshgrid(g["x0"] + col * g["dx"], g["y0"] - row * g["dy"])
        if self._crs == self._raster.crs:
            return x, y
        sx, sy = transform(self._crs, self._raster.crs, x.ravel(), y.ravel())
        return np.array(sx).reshape(x.shape), np.array(sy).reshape(y.shape)


def _corners(a):
    return np.stack([a[:-1, :-1], a[:-1, 1:], a[1:, :-1], a[1:, 1:]])


def run(request, raster):
    params = request["params"]
    ((role, output),) = request["outputs"].items()
    method = params.get("resampling", "bilinear")
    if method not in METHODS:
        raise BadInput(f"params.resampling is {method!r}; it is one of {', '.join(METHODS)}")
    scale, offset = raster.scaling(output.get("units", ""))
    box = request["tile"]
    rows, cols = (box["y"]["lo"], box["y"]["hi"]), (box["x"]["lo"], box["x"]["hi"])
    place = Lattice(request["grid"], raster).place
    values = warp(place, rows, cols, raster, method, params.get("min_valid", 0.5)) * scale + offset
    if role == "elevation":
        refuse_impossible(values)
    np.save(output["file"], typed(values, output).reshape(output["shape"]), allow_pickle=False)


def refuse_impossible(metres):
    known = metres[np.isfinite(metres)]
    if known.size and (known.min() < LOWEST or known.max() > HIGHEST):
        raise BadInput(f"the source holds elevations from {known.min():g} to {known.max():g} m; if that is a mark "
                       "of missing data, say which in params.nodata, and if other units, in params.units")


def typed(values, output):
    """Values in the dtype that the output is declared with."""
    dtype = np.dtype(output["dtype"]).newbyteorder("<")
    if dtype.kind == "f":
        return values.astype(dtype)
    missing, fill = np.isnan(values), output.get("fill")
    if missing.any() and fill is None:
        raise BadInput(f"{int(missing.sum())} cells have no data, and {dtype.name} without a fill cannot say so")
    whole = np.where(missing, fill or 0, np.rint(values))
    info = np.iinfo(dtype)
    if whole.min() < info.min or whole.max() > info.max:
        raise BadInput(f"the source holds values from {whole.min():g} to {whole.max():g}, beyond {dtype.name}")
    return whole.astype(dtype)


def main(path=REQUEST):
    with open(path, encoding="utf-8") as f:
        request = json.load(f)
    if request["version"] != 1:
        raise BadInput(f"request version {request['version']}: this driver speaks 1")
    (source,) = request["sources"].values()
    with rasterio.Env(**ENVIRONMENT):
        raster = Raster(source["file"], request["params"])
        if request["operation"] == "run":
            return run(request, raster)
        (output,) = request["outputs"].values()
        with open(output["file"], "w", encoding="utf-8") as f:
            json.dump(raster.inspect(), f)


if __name__ == "__main__":
    try:
        main()
    except BadInput as err:
        print(err, file=sys.stderr)
        sys.exit(65)
