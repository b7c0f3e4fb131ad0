"""Reads LANDFIRE layers cell by cell. The rasters must lie on the grid's own
lattice: classes are not to be resampled behind the user's back."""

import json
import sys

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import RasterioError

REQUEST = "/cube/request.json"
EXACT = 1e-6  # cells


class BadInput(Exception):
    """The source does not fit; running again gives the same."""


def offset(raster, name, grid):
    """Column and row of the lattice that the raster's first pixel lies on."""
    if raster.crs != CRS.from_user_input(grid["crs"]):
        raise BadInput(f"{name} is in {raster.crs}, the grid in {grid['crs']}")
    t = raster.transform
    col, row = (t.c - grid["x0"]) / grid["dx"], (grid["y0"] - t.f) / grid["dy"]
    drift = max(abs(t.a / grid["dx"] - 1) * raster.width, abs(-t.e / grid["dy"] - 1) * raster.height, abs(t.b), abs(t.d))
    if max(abs(col - round(col)), abs(row - round(row)), drift) > EXACT:
        raise BadInput(f"the cells of {name}, {t.a:g} x {-t.e:g} from ({t.c:g}, {t.f:g}), are not those of the grid")
    return round(col), round(row)


def read(path, name, grid, tile, fill):
    """The raster's values in the tile's cells as integers, fill where it has none."""
    (r0, r1), (c0, c1) = ((tile[axis]["lo"], tile[axis]["hi"]) for axis in "yx")
    out = np.full((r1 - r0, c1 - c0), fill, np.int64)
    try:
        with rasterio.open(path) as raster:
            col, row = offset(raster, name, grid)
            rows = max(r0, row), min(r1, row + raster.height)
            cols = max(c0, col), min(c1, col + raster.width)
            if rows[0] < rows[1] and cols[0] < cols[1]:
                window = (rows[0] - row, rows[1] - row), (cols[0] - col, cols[1] - col)
                values, mask = raster.read(1, window=window), raster.read_masks(1, window=window)
                part = out[rows[0] - r0 : rows[1] - r0, cols[0] - c0 : cols[1] - c0]
                part[mask > 0] = values[mask > 0]
    except RasterioError as err:
        raise BadInput(f"{name} cannot be read: {err}") from err
    return out


def check(values, name, fill, legend):
    """Refuses what the variable cannot mean."""
    allowed = [c["value"] for c in legend] if legend else range(101)
    wrong = sorted(set(np.unique(values).tolist()) - set(allowed) - {fill})
    if wrong:
        raise BadInput(f"{name} holds {', '.join(map(str, wrong[:5]))}, which is no {'class of the legend' if legend else 'percentage'}")


def main(path=REQUEST):
    with open(path, encoding="utf-8") as f:
        request = json.load(f)
    if request["version"] != 1:
        raise BadInput(f"request version {request['version']}: this producer speaks 1")
    for role, output in request["outputs"].items():
        source = request["sources"][role]["file"]
        values = read(source, role, request["grid"], request["tile"], output["fill"])
        check(values, role, output["fill"], output.get("legend"))
        np.save(output["file"], values.astype(output["dtype"]))


if __name__ == "__main__":
    try:
        main()
    except BadInput as err:
        print(err, file=sys.stderr)
        sys.exit(65)
