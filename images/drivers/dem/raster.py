"""A source raster: opened, checked and described by what it says of itself."""

import math
import os
import warnings

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform
from rasterio.windows import Window

warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it is an error of ours

STRIP = 1 << 22  # pixels read at a time when a whole raster is looked over

# Metres per unit, by the names that files use.
METRES = {
    "m": 1.0, "metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "international foot": 0.3048,
    "us-ft": 1200 / 3937, "us survey foot": 1200 / 3937, "us_survey_foot": 1200 / 3937,
    "cm": 0.01, "centimetre": 0.01, "centimeter": 0.01, "dm": 0.1, "km": 1000.0,
}  # fmt: skip


class BadInput(Exception):
    """The source or the parameters are wrong; running again gives the same."""


# GDAL as the driver needs it: no files beside the source, no network, and the
# datum shift of each point chosen by that point alone, not by those beside it.
ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,
    "OGR_CT_OP_SELECTION": "PROJ",
    "PROJ_NETWORK": "OFF",
}


def crs_of(text, what):
    try:
        return CRS.from_user_input(text)
    except CRSError as err:
        raise BadInput(f"{what} {text!r} is not a known coordinate reference system: {err}") from err


class Raster:
    """One band of a raster file, by pixel. Use it within rasterio.Env."""

    def __init__(self, path, params):
        self._params = params
        self._ds = self._open(path)
        self.width, self.height, self.bands = self._ds.width, self._ds.height, self._ds.count
        self.crs = self._crs()
        self.affine = self._affine()
        self._refuse_wrong_crs()
        self._values = None

    def _open(self, path):
        name = self._params.get("filename")
        if name:
            if os.path.basename(name) != name or name.startswith("."):
                raise BadInput(f"param filename {name!r} is not the name of a file")
            os.symlink(path, name)
            path = os.path.abspath(name)
        try:
            ds = rasterio.open(path)
            layer = self._params.get("layer")
            if layer:
                ds = rasterio.open(self._layer(ds, layer))
        except RasterioError as err:
            size = os.path.getsize(path)
            raise BadInput(f"the source cannot be opened as a raster ({size} bytes): {err}") from err
        if ds.count == 0:
            layers = ", ".join(_layer_names(ds)) or "none"
            raise BadInput(f"the source holds no raster band by itself; name one of its layers in params.layer: {layers}")
        return ds

    def _layer(self, ds, layer):
        for name, uri in zip(_layer_names(ds), ds.subdatasets):
            if name == layer:
                return uri
        raise BadInput(f"the source has no layer {layer!r}; it has: {', '.join(_layer_names(ds)) or 'none'}")

    def _crs(self):
        if self._params.get("crs"):
            return crs_of(self._params["crs"], "param crs")
        if not self._ds.crs:
            raise BadInput("the source does not say its coordinate reference system; say it in params.crs, such as EPSG:4326")
        return self._ds.crs

    def _affine(self):
        t = self._ds.transform
        if t.is_identity:
            raise BadInput("the source does not say where it lies: it has no transform from pixels to coordinates")
        if t.determinant == 0 or not all(map(math.isfinite, t)):
            raise BadInput(f"the source's transform {tuple(t)[:6]} places its pixels nowhere")
        return t

    def _refuse_wrong_crs(self):
        xs, ys = self._corners()
        cell = max(abs(self.affine.a), abs(self.affine.e))
        degrees = max(map(abs, xs)) <= 360 + cell and max(map(abs, ys)) <= 90 + cell
        if self.crs.is_geographic and not degrees:
            raise BadInput(f"the source says {title_of(self.crs)}, which is in degrees, but reaches from "
                           f"({min(xs):g}, {min(ys):g}) to ({max(xs):g}, {max(ys):g}): say the right one in params.crs")
        if not self.crs.is_geographic and degrees and cell < 0.05:
            raise BadInput(f"the source says {title_of(self.crs)}, which is not in degrees, but its cells of "
                           f"{abs(self.affine.a):g} x {abs(self.affine.e):g} are: say the right one in params.crs")

    def _corners(self):
        w, h = self.width, self.height
        return zip(*[self.affine * p for p in ((0, 0), (w, 0), (0, h), (w, h))])

    # Values.

    def band(self):
        """The number of the band to read, from 1."""
        band = self._params.get("band")
        if band is None and self.bands > 1:
            raise BadInput(f"the source has {self.bands} bands; name one in params.band")
        if band is not None and not 1 <= band <= self.bands:
            raise BadInput(f"params.band is {band}; the source has bands 1 to {self.bands}")
        return band or 1

    def _read(self, band, rows, cols):
        """Raw values of a window and which of them are data."""
        window = Window.from_slices(rows, cols)
        try:
            raw = self._ds.read(band, window=window)
            mask = self._ds.read_masks(band, window=window) > 0
        except RasterioError as err:
            detail = err.__cause__ or err
            raise BadInput(f"the source cannot be read in rows {rows[0]} to {rows[1] - 1}, columns {cols[0]} to "
                           f"{cols[1] - 1}; it is truncated or corrupt: {detail}") from err
        return self._usable(raw, mask)

    def _usable(self, raw, mask):
        nodata = self._params.get("nodata")
        if nodata is not None:
            mask = raw != np.array(nodata).astype(raw.dtype) if _fits(nodata, raw.dtype) else np.ones(raw.shape, bool)
        if np.issubdtype(raw.dtype, np.complexfloating):
            raise BadInput("the source holds complex numbers")
        return raw, mask & np.isfinite(raw)

    def scaling(self, units):
        """Factor and offset from raw values to the output's units."""
        band = self.band()
        scale = self._params.get("scale", self._ds.scales[band - 1])
        offset = self._params.get("offset", self._ds.offsets[band - 1])
        own = self._params.get("units") or (self._ds.units[band - 1] or "")
        factor = 1.0
        if own and units in METRES:
            if own.lower() not in METRES:
                raise BadInput(f"the source is in {own!r}, which is not a length; say its units in params.units")
            factor = METRES[own.lower()] / METRES[units]
        return scale * factor, offset * factor

    def load(self, rows, cols):
        """Brings rows and columns [lo, hi) into reach of at, as far as they exist."""
        rows = max(rows[0], 0), min(rows[1], self.height)
        cols = self._columns(cols)
        self._origin = rows[0], cols[0]
        if rows[0] >= rows[1] or cols[0] >= cols[1]:
            self._values = None
            return
        raw, usable = self._read(self.band(), rows, cols)
        self._values, self._ok = np.where(usable, raw, 0).astype(np.float64), usable

    def _columns(self, cols):
        if self.circles() and (cols[0] < 0 or cols[1] > self.width):
            return 0, self.width
        return max(cols[0], 0), min(cols[1], self.width)

    def at(self, row, col):
        """Values at pixels, and whether each is there, loaded and data."""
        if self._values is None:
            return np.zeros(row.shape), np.zeros(row.shape, bool)
        if self.circles():
            col = col % self.width
        r, c = row - self._origin[0], col - self._origin[1]
        ny, nx = self._values.shape
        inside = (r >= 0) & (r < ny) & (c >= 0) & (c < nx)
        r, c = np.where(inside, r, 0), np.where(inside, c, 0)
        return self._values[r, c], self._ok[r, c] & inside

    # Place.

    def circles(self):
        """Whether the first column follows the last: a raster of all longitudes."""
        return self.crs.is_geographic and self.affine.b == 0 and abs(abs(self.affine.a) * self.width - 360) < 1e-6

    def pixels(self, x, y):
        """Positions in pixels of coordinates in the raster's CRS."""
        inv = ~self.affine
        return inv.a * x + inv.b * y + inv.c, inv.d * x + inv.e * y + inv.f

    def longitude(self, x):
        """x moved by whole turns into the raster, where a turn brings it there."""
        if not self.crs.is_geographic:
            return x
        xs, _ = self._corners()
        xs = list(xs)
        turned = x - 360.0 * np.floor((x - min(xs)) / 360.0)
        outside = (x < min(xs)) | (x > max(xs))
        return np.where(outside & (turned <= max(xs)), turned, x)

    # Description.

    def inspect(self):
        """What the raster says of itself, after every value has been read."""
        seen = sum(self._scan(b) for b in range(1, self.bands + 1))
        if seen == 0:
            raise BadInput("the source is empty: none of its cells has a value")
        t = self.affine
        return {
            "crs": name_of(self.crs),
            "transform": [t.c, t.a, t.b, t.f, t.d, t.e],
            "width": self.width,
            "height": self.height,
            "bands": self.bands,
            "dtype": self._ds.dtypes[self.band() - 1 if self.bands == 1 or self._params.get("band") else 0],
            "native_res_m": self.ground_size(),
        }

    def _scan(self, band):
        step = max(1, STRIP // self.width)
        tall = self._ds.block_shapes[band - 1][0]
        step = max(tall, step - step % tall)
        found = 0
        for row in range(0, self.height, step):
            _, usable = self._read(band, (row, min(row + step, self.height)), (0, self.width))
            found += int(np.count_nonzero(usable))
        return found

    def ground_size(self):
        """Ground metres of a cell's coarser axis, the worst over the raster."""
        n = 9
        c, r = np.meshgrid(np.linspace(0.5, self.width - 0.5, n), np.linspace(0.5, self.height - 0.5, n))
        ends = [(c - 0.5, r), (c + 0.5, r), (c, r - 0.5), (c, r + 0.5)]
        lonlat = [self._lonlat(*(self.affine * p)) for p in ends]
        sizes = np.concatenate([_ground(*lonlat[0], *lonlat[1]), _ground(*lonlat[2], *lonlat[3])])
        sizes = sizes[np.isfinite(sizes)]
        if sizes.size == 0:
            raise BadInput(f"the source lies where {title_of(self.crs)} has no place on the ground: is it the right one?")
        return float(f"{sizes.max():.6g}")

    def _lonlat(self, x, y):
        lon, lat = transform(self.crs, CRS.from_epsg(4326), x.ravel(), y.ravel())
        return np.array(lon), np.array(lat)


def _layer_names(ds):
    return [uri.rsplit(":", 1)[-1].lstrip("/") for uri in ds.subdatasets]


def _fits(value, dtype):
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return float(value).is_integer() and info.min <= value <= info.max
    return True


def name_of(crs):
    """EPSG:n where the CRS is exactly that one, else its WKT."""
    code = crs.to_epsg(confidence_threshold=100)
    return f"EPSG:{code}" if code else crs.to_wkt(version="WKT2_2019")


def title_of(crs):
    """The CRS for people."""
    name = name_of(crs)
    return name if name.startswith("EPSG:") else (name.split('"') + [""])[1]


def _ground(lon0, lat0, lon1, lat1):
    """Length in metres of short lines on the WGS 84 ellipsoid."""
    a, e2 = 6378137.0, 0.0066943799901413165
    lat = np.radians((lat0 + lat1) / 2)
    w = np.sqrt(1 - e2 * np.sin(lat) ** 2)
    dlon = np.radians((lon1 - lon0 + 180) % 360 - 180)
    north = np.radians(lat1 - lat0) * a * (1 - e2) / w**3
    east = dlon * np.cos(lat) * a / w
    return np.hypot(north, east)
