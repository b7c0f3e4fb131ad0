"""Describes a raster for cube import: runs inside the image of builtin:dem."""

import json
import math
import sys

sys.path.insert(0, "/app")

import rasterio
from raster import ENVIRONMENT, BadInput, Raster, name_of


def number(text):
    return float(text) if text is not None and math.isfinite(float(text)) else None


def colours(ds, band):
    try:
        return {str(v): "#%02x%02x%02x" % c[:3] for v, c in ds.colormap(band).items()}
    except ValueError:  # it has none
        return {}


def describe(raster, band):
    ds, t = raster._ds, raster.affine
    tags = {k.lower(): v for k, v in ds.tags(band).items()}
    return {
        "crs": name_of(raster.crs),
        "transform": [t.c, t.a, t.b, t.f, t.d, t.e],
        "width": raster.width,
        "height": raster.height,
        "native_res_m": raster.ground_size(),
        "dtype": ds.dtypes[band - 1],
        "nodata": number(ds.nodatavals[band - 1]),
        "scaled": ds.scales[band - 1] != 1 or ds.offsets[band - 1] != 0,
        "units": ds.units[band - 1] or tags.get("units") or "",
        "long_name": tags.get("long_name") or "",
        "standard_name": tags.get("standard_name") or "",
        "flag_values": tags.get("flag_values") or "",
        "flag_meanings": tags.get("flag_meanings") or "",
        "colors": colours(ds, band),
    }


def main():
    with open("/cube/request.json", encoding="utf-8") as f:
        request = json.load(f)
    (source,) = request["sources"].values()
    (output,) = request["outputs"].values()
    with rasterio.Env(**ENVIRONMENT):
        raster = Raster(source["file"], request["params"])
        found = describe(raster, raster.band())
    with open(output["file"], "w", encoding="utf-8") as f:
        json.dump(found, f)


try:
    main()
except BadInput as err:
    print(err, file=sys.stderr)
    sys.exit(65)
