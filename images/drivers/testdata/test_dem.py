"""What the dem driver promises; run by drivers_test.go with the driver on the path."""

import json
import os
import subprocess
import tempfile
import unittest

import numpy as np
import rasterio
from rasterio.transform import Affine

import main as driver
import warp
from raster import BadInput

ROCKIES = os.path.join(os.environ["REPOSITORY"], "examples", "rockies", "data", "rmnp-dem.tif")


class DriverTest(unittest.TestCase):
    def setUp(self):
        self._dir = tempfile.TemporaryDirectory()
        self.addCleanup(self._dir.cleanup)
        self.dir, back = self._dir.name, os.getcwd()
        os.mkdir(os.path.join(self.dir, "scratch"))
        os.chdir(os.path.join(self.dir, "scratch"))
        self.addCleanup(os.chdir, back)

    def write(self, values, transform, crs="EPSG:32613", name="source.tif", tags=None, units=None, **profile):
        values = np.asarray(values)
        values = values[None] if values.ndim == 2 else values
        path = os.path.join(self.dir, name)
        with rasterio.open(path, "w", driver="GTiff", width=values.shape[2], height=values.shape[1],
                           count=values.shape[0], dtype=values.dtype, crs=crs, transform=transform, **profile) as f:
            f.write(values)
            if tags:
                f.update_tags(**tags)
            if units:
                f.units = [units]
        return path

    def request(self, source, operation, params, **more):
        file = os.path.join(self.dir, "request.json")
        out = os.path.join(self.dir, "out")
        request = {"version": 1, "operation": operation, "params": params, "seed": 0, "inputs": {},
                   "sources": {"raster": {"path": self.dir, "file": source}}, **more}
        with open(file, "w", encoding="utf-8") as f:
            json.dump(request, f)
        driver.main(file)
        return out

    def inspect(self, source, **params):
        out = self.request(source, "inspect", params, outputs={"inspection": {"file": os.path.join(self.dir, "out")}})
        with open(out, encoding="utf-8") as f:
            return json.load(f)

    def run_tile(self, source, grid, rows, cols, role="elevation", dtype="float32", fill=None, units="m", **params):
        shape = [rows[1] - rows[0], cols[1] - cols[0]]
        out = os.path.join(self.dir, "out.npy")
        self.request(source, "run", params, grid=grid,
                     tile={"y": {"lo": rows[0], "hi": rows[1]}, "x": {"lo": cols[0], "hi": cols[1]}},
                     outputs={role: {"file": out, "dtype": dtype, "shape": shape, "units": units, "fill": fill}})
        values = np.load(out)
        self.assertEqual((list(values.shape), values.dtype.str[1:]), (shape, np.dtype(dtype).str[1:]))
        return values

    def gdalwarp(self, source, grid, rows, cols, method):
        """The same cells by Debian's gdalwarp, an independent build of GDAL."""
        out = os.path.join(self.dir, "gdal.tif")
        west, north = grid["x0"] + cols[0] * grid["dx"], grid["y0"] - rows[0] * grid["dy"]
        east, south = grid["x0"] + cols[1] * grid["dx"], grid["y0"] - rows[1] * grid["dy"]
        subprocess.run(["gdalwarp", "-q", "-overwrite", "-et", "0", "-r", method, "-ot", "Float32", "-dstnodata", "nan",
                        "-t_srs", grid["crs"], "-te", *map(str, (west, south, east, north)),
                        "-tr", str(grid["dx"]), str(grid["dy"]), source, out], check=True)
        with rasterio.open(out) as f:
            return f.read(1)

    def refused(self, pattern):
        return self.assertRaisesRegex(BadInput, pattern)


def lattice(x0, y0, size, crs="EPSG:32613"):
    return {"crs": crs, "dx": size, "dy": size, "x0": x0, "y0": y0}


class Tiling(DriverTest):
    GRIDS = {
        "coarser": (lattice(422750, 4489250, 250), 174, 140),
        "finer, over the edge of the data": (lattice(421000, 4491000, 90), 130, 110),
        "much coarser": (lattice(422000, 4490000, 3000), 15, 12),
        "in degrees": ({"crs": "EPSG:4269", "dx": 0.004, "dy": 0.003, "x0": -105.93, "y0": 40.56}, 137, 111),
    }

    def test_tiled_equals_untiled_bit_for_bit(self):
        for name, (grid, ny, nx) in self.GRIDS.items():
            for method in warp.METHODS:
                with self.subTest(grid=name, method=method):
                    whole = self.run_tile(ROCKIES, grid, (0, ny), (0, nx), resampling=method)
                    tiled = np.full_like(whole, 0)
                    for r, c, tile in self.tiles(grid, ny, nx, 37, method):
                        tiled[r[0] : r[1], c[0] : c[1]] = tile
                    self.assertEqual(tiled.tobytes(), whole.tobytes())

    def tiles(self, grid, ny, nx, size, method):
        for y in range(0, ny, size):
            for x in range(0, nx, size):
                r, c = (y, min(y + size, ny)), (x, min(x + size, nx))
                yield r, c, self.run_tile(ROCKIES, grid, r, c, resampling=method)

    def test_blocks_that_are_split_for_memory_change_no_bit(self):
        grid, ny, nx = self.GRIDS["much coarser"]
        whole = {m: self.run_tile(ROCKIES, grid, (0, ny), (0, nx), resampling=m) for m in warp.METHODS}
        self.addCleanup(setattr, warp, "TAPS", warp.TAPS)
        warp.TAPS = 500
        for method, values in whole.items():
            with self.subTest(method=method):
                again = self.run_tile(ROCKIES, grid, (0, ny), (0, nx), resampling=method)
                self.assertEqual(again.tobytes(), values.tobytes())

    def test_rows_above_the_lattice_origin_are_as_good_as_others(self):
        below, above = lattice(422750, 4489250, 250), lattice(422750 + 250 * 40, 4489250 - 250 * 60, 250)
        a = self.run_tile(ROCKIES, below, (10, 30), (5, 25))
        b = self.run_tile(ROCKIES, above, (10 - 60, 30 - 60), (5 - 40, 25 - 40))
        np.testing.assert_array_equal(a, b)


class Values(DriverTest):
    def test_upsampling_equals_gdalwarp(self):
        grid = lattice(430000, 4480000, 90)
        for method in ("bilinear", "cubic"):
            with self.subTest(method=method):
                ours = self.run_tile(ROCKIES, grid, (0, 200), (0, 200), resampling=method)
                theirs = self.gdalwarp(ROCKIES, grid, (0, 200), (0, 200), method)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)

    def test_nearest_equals_gdalwarp_but_for_ties(self):
        grid = lattice(430000, 4480000, 90)
        ours = self.run_tile(ROCKIES, grid, (0, 200), (0, 200), resampling="nearest")
        theirs = self.gdalwarp(ROCKIES, grid, (0, 200), (0, 200), "near")
        self.assertLessEqual(np.count_nonzero(ours != theirs), 4)

    def test_averages_of_whole_pixels_are_exact(self):
        source = np.arange(36, dtype=np.float32).reshape(6, 6)
        path = self.write(source, Affine(30, 0, 500000, 0, -30, 4400000))
        blocks = source.reshape(3, 2, 3, 2).swapaxes(1, 2).reshape(3, 3, 4)
        for method, want in (("average", blocks.mean(2)), ("min", blocks.min(2)), ("max", blocks.max(2))):
            with self.subTest(method=method):
                got = self.run_tile(path, lattice(500000, 4400000, 60), (0, 3), (0, 3), resampling=method)
                np.testing.assert_array_equal(got, want)

    def test_mode_takes_the_largest_class_and_of_equals_the_smallest(self):
        classes = np.array([[7, 7, 3, 9], [7, 3, 9, 3]], np.uint8)
        path = self.write(classes, Affine(30, 0, 500000, 0, -30, 4400000))
        got = self.run_tile(path, lattice(500000, 4400000, 60), (0, 1), (0, 2), role="class", dtype="uint8", fill=0,
                            units="", resampling="mode")
        np.testing.assert_array_equal(got, [[7, 3]])

    def test_the_same_lattice_gives_the_same_values(self):
        source = np.random.default_rng(1).integers(0, 4000, (50, 40)).astype(np.int16)
        source[3, 4] = -9999
        path = self.write(source, Affine(30.1, 0, 500000.7, 0, -30.1, 4400000.3), nodata=-9999)
        want = np.where(source == -9999, np.nan, source).astype(np.float32)
        grid = lattice(500000.7 - 7 * 30.1, 4400000.3 + 5 * 30.1, 30.1)
        for method in warp.METHODS:
            with self.subTest(method=method):
                got = self.run_tile(path, grid, (5, 55), (7, 47), resampling=method)
                np.testing.assert_array_equal(got, want)

    def test_a_point_raster_is_not_shifted_by_half_a_pixel(self):
        values = np.arange(9, dtype=np.float32).reshape(3, 3)
        area = self.write(values, Affine(30, 0, 500000, 0, -30, 4400000), name="area.tif")
        point = self.write(values, Affine(30, 0, 500000, 0, -30, 4400000), name="point.tif", tags={"AREA_OR_POINT": "Point"})
        for path in (area, point):
            got = self.run_tile(path, lattice(500000, 4400000, 30), (0, 3), (0, 3), resampling="nearest")
            np.testing.assert_array_equal(got, values)
        self.assertEqual(self.inspect(point)["transform"], self.inspect(area)["transform"])

    def test_a_south_up_raster_is_the_right_way_round(self):
        values = np.arange(9, dtype=np.float32).reshape(3, 3)
        path = self.write(values[::-1], Affine(30, 0, 500000, 0, 30, 4400000 - 90))
        got = self.run_tile(path, lattice(500000, 4400000, 30), (0, 3), (0, 3))
        np.testing.assert_array_equal(got, values)

    def test_longitudes_count_modulo_a_turn(self):
        lon = (np.arange(360) + 0.5).astype(np.float32)
        path = self.write(np.tile(lon, (180, 1)), Affine(1, 0, 0, 0, -1, 90), crs="EPSG:4326")
        grid = {"crs": "EPSG:4326", "dx": 0.5, "dy": 0.5, "x0": -180, "y0": 90}
        got = self.run_tile(path, grid, (100, 101), (350, 370), role="longitude", units="")
        want = (np.arange(350, 370) * 0.5 + 0.25 - 180) % 360
        near_seam = (want < 0.5) | (want > 359.5)
        np.testing.assert_allclose(got[0][~near_seam], want[~near_seam], atol=1e-4)
        np.testing.assert_allclose(got[0][near_seam], [0.5 + 359 * 0.25, 0.5 + 359 * 0.75][::-1], atol=1e-3)

    def test_feet_become_metres(self):
        transform = Affine(30, 0, 500000, 0, -30, 4400000)
        grid = lattice(500000, 4400000, 30)
        feet = self.write(np.full((2, 2), 1000, np.int16), transform, units="ft")
        self.assertAlmostEqual(self.run_tile(feet, grid, (0, 1), (0, 1))[0, 0], 304.8, places=3)
        silent = self.write(np.full((2, 2), 1000, np.int16), transform)
        self.assertEqual(self.run_tile(silent, grid, (0, 1), (0, 1))[0, 0], 1000)
        scaled = self.run_tile(silent, grid, (0, 1), (0, 1), scale=0.1, offset=5)
        self.assertAlmostEqual(scaled[0, 0], 105, places=4)

    def test_outside_the_raster_there_is_no_data(self):
        tile = self.run_tile(ROCKIES, lattice(422750, 4489250, 250), (-500, -490), (0, 10))
        self.assertTrue(np.isnan(tile).all())

    def test_min_valid_is_the_share_of_a_cell_that_must_have_data(self):
        values = np.array([[1, -9], [-9, -9]], np.float32)
        path = self.write(values, Affine(30, 0, 500000, 0, -30, 4400000), nodata=-9)
        one = lambda share: self.run_tile(path, lattice(500000, 4400000, 60), (0, 1), (0, 1), resampling="average", min_valid=share)[0, 0]
        self.assertTrue(np.isnan(one(0.5)))
        self.assertEqual(one(0.25), 1)


class Inspection(DriverTest):
    def test_says_the_rasters_own_lattice(self):
        got = self.inspect(ROCKIES)
        self.assertEqual((got["crs"], got["width"], got["height"], got["bands"], got["dtype"]), ("EPSG:4326", 152, 187, 1, "uint16"))
        np.testing.assert_allclose(got["transform"], [-105.9125, 0.00275, 0, 40.553678, 0, -0.00211], atol=1e-6)
        self.assertAlmostEqual(got["native_res_m"], 234.3, delta=0.2)  # 0.00211 degrees of latitude

    def test_measures_cells_on_the_ground(self):
        for crs, size, at, want, delta in (
            ("EPSG:32610", 30, (531783, 4280398), 30.0, 0.02),
            ("EPSG:5070", 30, (-2028825, 1953435), 30.25, 0.05),
            ("EPSG:3857", 10, (-13600000, 4540000), 7.9, 0.05),
            ("EPSG:4326", 1 / 1200, (-72, 45), 92.6, 0.1),
        ):
            with self.subTest(crs=crs):
                path = self.write(np.ones((100, 100), np.uint8), Affine(size, 0, at[0], 0, -size, at[1]), crs=crs)
                self.assertAlmostEqual(self.inspect(path)["native_res_m"], want, delta=delta)


class Refusals(DriverTest):
    AT = Affine(30, 0, 500000, 0, -30, 4400000)

    def test_not_a_raster(self):
        path = os.path.join(self.dir, "data.tif")
        with open(path, "w", encoding="utf-8") as f:
            f.write("not a raster at all")
        with self.refused("cannot be opened as a raster .19 bytes"):
            self.inspect(path)

    def test_a_truncated_file(self):
        path = self.write(np.random.default_rng(2).random((300, 300)).astype(np.float32), self.AT)
        os.truncate(path, os.path.getsize(path) * 2 // 3)
        with self.refused("truncated or corrupt"):
            self.inspect(path)
        with self.refused("truncated or corrupt"):
            self.run_tile(path, lattice(500000, 4400000, 30), (250, 300), (0, 50))

    def test_no_crs_unless_a_param_says_it(self):
        path = self.write(np.ones((4, 4), np.uint8), self.AT, crs=None)
        with self.refused("does not say its coordinate reference system.*params.crs"):
            self.inspect(path)
        self.assertEqual(self.inspect(path, crs="EPSG:32613")["crs"], "EPSG:32613")
        with self.refused("EPSG:99999.*not a known"):
            self.inspect(path, crs="EPSG:99999")

    def test_metres_that_call_themselves_degrees(self):
        with self.refused("EPSG:4326, which is in degrees, but reaches"):
            self.inspect(self.write(np.ones((4, 4), np.uint8), self.AT, crs="EPSG:4326"))

    def test_degrees_that_call_themselves_metres(self):
        path = self.write(np.ones((4, 4), np.uint8), Affine(0.001, 0, -105, 0, -0.001, 40))
        with self.refused("EPSG:32613, which is not in degrees, but its cells"):
            self.inspect(path)

    def test_no_place(self):
        path = self.write(np.ones((4, 4), np.uint8), Affine.identity())
        with self.refused("does not say where it lies"):
            self.inspect(path)

    def test_several_bands_and_none_named(self):
        path = self.write(np.stack([np.full((2, 2), b, np.uint8) for b in (1, 2, 3)]), self.AT)
        self.assertEqual(self.inspect(path)["bands"], 3)
        grid = lattice(500000, 4400000, 30)
        with self.refused("3 bands; name one in params.band"):
            self.run_tile(path, grid, (0, 2), (0, 2))
        with self.refused("params.band is 4"):
            self.run_tile(path, grid, (0, 2), (0, 2), band=4)
        self.assertEqual(self.run_tile(path, grid, (0, 2), (0, 2), band=2)[0, 0], 2)

    def test_nothing_but_nodata(self):
        with self.refused("empty"):
            self.inspect(self.write(np.full((4, 4), -9999, np.int16), self.AT, nodata=-9999))

    def test_a_mark_of_missing_data_taken_for_an_elevation(self):
        path = self.write(np.array([[-32768, 5], [5, 5]], np.int16), self.AT)
        grid = lattice(500000, 4400000, 30)
        with self.refused("-32768 to 5 m.*params.nodata"):
            self.run_tile(path, grid, (0, 2), (0, 2), resampling="nearest")
        self.assertTrue(np.isnan(self.run_tile(path, grid, (0, 2), (0, 2), resampling="nearest", nodata=-32768)[0, 0]))

    def test_a_file_name_that_leaves_its_folder(self):
        path = self.write(np.ones((4, 4), np.uint8), self.AT)
        with self.refused("not the name of a file"):
            self.inspect(path, filename="../x.tif")


@unittest.skipUnless(os.environ.get("CUBE_SAMPLE_DATA"), "CUBE_SAMPLE_DATA is not set")
class SampleData(DriverTest):
    def sample(self, *path):
        return os.path.join(os.environ["CUBE_SAMPLE_DATA"], *path)

    def test_corrupt_files_are_refused(self):
        for name in ("glass_dem_truncated.tif", "corrupt.tif", "byte_truncated.tif", "N44W072.hgt", "byte_truncated.nc",
                     "hrrr_truncated_20pct.grib2", "corrupted_gtiff_tags.tif", "ossfuzz_444714656.tar"):
            with self.subTest(file=name), self.refused("."):
                self.inspect(self.sample("adversarial", name))

    def test_formats_that_are_told_by_their_name(self):
        os.symlink(self.sample("dem", "N44W072.hgt"), os.path.join(self.dir, "data.hgt"))
        with self.refused("cannot be opened"):
            self.inspect(os.path.join(self.dir, "data.hgt"))
        self.assertEqual(self.inspect(os.path.join(self.dir, "data.hgt"), filename="N44W072.hgt")["width"], 1201)

    def test_a_map_of_classes_keeps_its_classes(self):
        source = self.sample("glassfire2020", "fbfm40.tif")
        with rasterio.open(source) as f:
            t, want = f.transform, f.read(1)
        got = self.run_tile(source, lattice(t.c, t.f, 30, "EPSG:32610"), (0, 800), (0, 800), role="fuel_model", dtype="int16",
                            fill=-9999, units="", resampling="nearest")
        np.testing.assert_array_equal(got, want)


if __name__ == "__main__":
    unittest.main(verbosity=2)
