"""Sorts the ground into classes by elevation and slope."""

import json
import sys

import numpy as np

# The classes, as in the legend of producer.yaml.
NODATA, VALLEY, BENCH, HILLSIDE, STEEP, CLIFF, TUNDRA = 0, 1, 2, 3, 4, 5, 6


def classify(elevation, slope, params):
    """The class of each cell; the first rule that holds decides."""
    rules = [
        (np.isnan(elevation) | np.isnan(slope), NODATA),
        (slope >= params["cliff_slope"], CLIFF),
        (slope >= params["steep_slope"], STEEP),
        (elevation >= params["tree_line"], TUNDRA),
        (slope >= params["gentle_slope"], HILLSIDE),
        (elevation < params["valley_elevation"], VALLEY),
    ]
    conditions, classes = zip(*rules)
    return np.select(conditions, classes, default=BENCH).astype(np.uint8)


def main():
    with open("/cube/request.json", encoding="utf-8") as f:
        request = json.load(f)
    if request["version"] != 1:
        sys.exit(f"request version {request['version']}: this producer speaks 1")
    elevation, slope = (np.load(request["inputs"][role]["file"]) for role in ("elevation", "slope"))
    terrain = classify(elevation, slope, request["params"])
    np.save(request["outputs"]["terrain_class"]["file"], terrain)


if __name__ == "__main__":
    main()
