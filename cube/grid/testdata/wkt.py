"""Writes wkt.tsv, WKT in the dialects that programs write, on standard output.

Run with pyproj 3.7.2 (PROJ 9.5.1), in this folder:

    python wkt.py > wkt.tsv

Each line is an EPSG code and a WKT text; half of the texts have had all their
identifiers taken out.
"""

import re

import pyproj

CODES = [4326, 4269, 4258, 4171, 4283, 3857, 5070, 3310, 3338, 3005, 3577, 2154, 3347, 3978, 3034,
         3035, 6931, 6932, 6933, 3413, 3995, 3976, 3031, 32610, 32733, 26911, 25832]
DIALECTS = ["WKT2_2019", "WKT2_2019_SIMPLIFIED", "WKT2_2015", "WKT1_GDAL", "WKT1_ESRI"]

for code in CODES:
    for dialect in DIALECTS:
        text = pyproj.CRS.from_epsg(code).to_wkt(dialect)
        text = re.sub(r',USAGE\[.*?\]\]', "", text)
        bare = re.sub(r',(ID|AUTHORITY)\["EPSG",[^\]]*\]', "", text)
        print(f"EPSG:{code}\t{text}")
        if bare != text:
            print(f"EPSG:{code}\t{bare}")
