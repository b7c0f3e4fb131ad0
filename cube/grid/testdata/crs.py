"""Writes crs.tsv, the golden values of the CRS tests, on standard output.

Run with pyproj 3.7.2 (PROJ 9.5.1), in this folder:

    python crs.py > crs.tsv

Each line is a code, a longitude and latitude on the CRS's own datum, and the
easting and northing that PROJ gives for it.
"""

import pyproj

AREAS = {
    3857: (-180, -84, 180, 84),
    5070: (-130, 20, -60, 55), 3310: (-125, 32, -113, 43), 3338: (-180, 50, -130, 72),
    3005: (-140, 48, -114, 61), 3577: (110, -45, 156, -8),
    2154: (-9, 41, 10, 51), 3347: (-142, 40, -47, 84), 3978: (-142, 40, -47, 84), 3034: (-30, 27, 45, 72),
    3035: (-35, 24, 45, 73), 6931: (-180, 0, 180, 90), 6932: (-180, -90, 180, 0), 6933: (-180, -86, 180, 86),
    3413: (-180, 30, 180, 90), 3995: (-180, 30, 180, 90), 3976: (-180, -90, 180, -30), 3031: (-180, -90, 180, -30),
}


def line(code, lon, lat):
    crs = pyproj.CRS.from_epsg(code)
    t = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    x, y = t.transform(lon, lat, errcheck=True)
    print(f"EPSG:{code}\t{lon!r}\t{lat!r}\t{x!r}\t{y!r}")


def spread(lo, hi, n):
    return [round(lo + (hi - lo) * (i + 0.37) / n, 7) for i in range(n)]


for code, (w, s, e, n) in AREAS.items():
    for lon in spread(w, e, 5):
        for lat in spread(s, n, 5):
            line(code, lon, lat)
for code in (3413, 3995, 6931):
    line(code, 10.0, 90.0)
for code in (3031, 3976, 6932):
    line(code, 10.0, -90.0)
zones = [32600 + z for z in range(1, 61)] + [32700 + z for z in range(1, 61)]
zones += [26900 + z for z in range(1, 24)] + [25800 + z for z in range(28, 39)]
for code in zones:
    meridian, south = 6 * (code % 100) - 183, code // 100 == 327
    far = (-30.0, -2.7, 0.0, 3.3, 20.0) if code in (32610, 32733, 26911, 25832) else (-2.9, 3.3)
    for d in far:
        for lat in (0.0, 12.3456789, 47.6, 83.9):
            line(code, ((meridian + d + 180) % 360) - 180, -lat if south else lat)
