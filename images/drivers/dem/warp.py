"""Resampling of a raster onto the cells of a lattice, the same in any tiling.

Every value depends on its own cell alone: coordinates come from absolute cell
indices, the taps of a kernel stand in the order of source pixels, and sums are
formed one by one in that order (np.add.accumulate; a reduction groups its
terms by the shape of the array). So a cell has the same bits whichever tile it
is computed in. GDAL's own warper derives its kernel from the block at hand.

Positions in the source are in pixels from its first corner: pixel (r, c)
covers [c, c+1) x [r, r+1).
"""

import numpy as np

SNAP = 1e-6  # pixels: what is this close to a pixel's edge or centre is on it
WIDEN = 1.05  # source pixels to a cell, below which a kernel keeps its own width
CELLS = 1 << 16  # cells placed at a time
TAPS = 1 << 19  # taps held at a time, over all cells

METHODS = ("nearest", "bilinear", "cubic", "average", "min", "max", "mode")


class Footprint:
    """Where cells lie in the source: arrays of one shape (ny, nx).

    cx, cy are the centres; x, y hold the corners (4, ny, nx) in the order NW,
    NE, SW, SE. A cell without a place in the source has a position that is not
    finite.
    """

    def __init__(self, cx, cy, x, y):
        self.valid = np.isfinite(cx) & np.isfinite(cy) & np.isfinite(x).all(0) & np.isfinite(y).all(0)
        self.cx, self.cy = self._settle(cx, cx), self._settle(cy, cy)
        x, y = self._settle(x, cx), self._settle(y, cy)
        self.west, self.east, self.ratio_x = x.min(0), x.max(0), _ratio(x)
        self.north, self.south, self.ratio_y = y.min(0), y.max(0), _ratio(y)

    def _settle(self, p, centre):
        """Snaps to edges and centres, and puts lost cells with some other one."""
        elsewhere = centre[self.valid][0] if self.valid.any() else 0.0
        p = np.where(self.valid, p, elsewhere)
        half = np.rint(p * 2) / 2
        return np.where(np.abs(p - half) < SNAP, half, p)


def _ratio(p):
    """How many source pixels a cell spans along one axis, at least 1."""
    nw, ne, sw, se = p
    across, down = ((ne - nw) + (se - sw)) / 2, ((sw - nw) + (se - ne)) / 2
    ratio = np.sqrt(across * across + down * down)
    return np.where(ratio < WIDEN, 1.0, ratio)


def _triangle(d):
    return np.where(d < 1, 1 - d, 0.0)


def _cubic(d):  # Keys' kernel with a = -1/2
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _around(centre, ratio, radius, shape):
    c, reach = centre - 0.5, radius * ratio
    return np.ceil(c - reach), np.floor(c + reach), lambda i: shape(np.abs(i - c) / ratio)


def _within(lo, hi):
    def overlap(i):
        w = np.minimum(i + 1, hi) - np.maximum(i, lo)
        return np.where(w > SNAP, w, 0.0)

    return np.floor(lo), np.maximum(np.ceil(hi) - 1, np.floor(lo)), overlap


def _axis(method, centre, ratio, lo, hi):
    """Index of the first and last tap of each cell, and a tap's weight by its index."""
    if method == "nearest":
        at = np.floor(centre)
        return at, at, np.ones_like
    if method == "bilinear":
        return _around(centre, ratio, 1, _triangle)
    if method == "cubic":
        return _around(centre, ratio, 2, _cubic)
    return _within(lo, hi)


class Kernel:
    """The taps of all cells of a footprint: rows and columns of the source.

    Cells of unlike kernels have as many taps as the largest; those beyond a
    cell's own weigh nothing.
    """

    def __init__(self, foot, method):
        self.method, self.foot = method, foot
        self._rows = _axis(method, foot.cy, foot.ratio_y, foot.north, foot.south)
        self._cols = _axis(method, foot.cx, foot.ratio_x, foot.west, foot.east)
        self.size = self._count(self._rows) * self._count(self._cols) * foot.cx.size

    @staticmethod
    def _count(axis):
        return int((axis[1] - axis[0]).max()) + 1

    def window(self):
        """Rows and columns of the source that the taps lie in, half open."""
        (r0, r1, _), (c0, c1, _) = self._rows, self._cols
        return (int(r0.min()), int(r1.max()) + 1), (int(c0.min()), int(c1.max()) + 1)

    def taps(self):
        """Row, column and weight of each tap, arrays of shape (taps, ny, nx)."""
        row, wy = self._expand(self._rows)
        col, wx = self._expand(self._cols)
        shape = (row.shape[0] * col.shape[0],) + row.shape[1:]
        grid = (row.shape[0], col.shape[0]) + row.shape[1:]
        spread = lambda a, axis: np.broadcast_to(np.expand_dims(a, axis), grid).reshape(shape)
        return spread(row, 1), spread(col, 0), spread(wy, 1) * spread(wx, 0)

    def _expand(self, axis):
        first, _, weight = axis
        index = first + np.arange(self._count(axis), dtype=np.float64)[:, None, None]
        return index.astype(np.int64), weight(index)


def _total(a):
    return np.add.accumulate(a, axis=0)[-1]


def _mode(value, weight):
    """The value that covers most of each cell; of equals, the smallest."""
    order = np.argsort(value, axis=0, kind="stable")
    value, weight = np.take_along_axis(value, order, 0), np.take_along_axis(weight, order, 0)
    change = value[1:] != value[:-1]
    edge = np.ones((1,) + value.shape[1:], bool)
    first, last = np.concatenate([edge, change]), np.concatenate([change, edge])
    upto = np.add.accumulate(weight, axis=0)
    before = np.maximum.accumulate(np.where(first, upto - weight, 0.0), axis=0)
    group = np.where(last, upto - before, -1.0)
    best = (group > group.max(0) - SNAP).argmax(0)
    return np.take_along_axis(value, best[None], 0)[0]


def _value(method, value, weight, usable):
    if method in ("min", "max", "mode"):
        usable = usable & (weight > 0)
    weight = np.where(usable, weight, 0.0)
    if method == "min":
        return np.where(usable, value, np.inf).min(0)
    if method == "max":
        return np.where(usable, value, -np.inf).max(0)
    if method == "mode":
        return _mode(np.where(usable, value, np.inf), weight)
    return _total(np.where(usable, value, 0.0) * weight) / _total(weight)


def _apply(kernel, source, min_valid):
    source.load(*kernel.window())
    row, col, weight = kernel.taps()
    value, usable = source.at(row, col)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        out = _value(kernel.method, value, weight, usable)
        size = np.abs(weight)
        share = _total(np.where(usable, size, 0.0)) / _total(size)
        keep = kernel.foot.valid & (share > 0) & (share >= min_valid) & np.isfinite(out)
    return np.where(keep, out, np.nan) + 0.0  # no negative zero


def warp(place, rows, cols, source, method, min_valid):
    """Values of the cells [rows) x [cols) as float64, NaN where there is none.

    place(rows, cols) is their Footprint; source has load(rows, cols), which
    brings a window into reach, and at(row, col), which returns values and
    whether they are usable. A cell is NaN where less than the share min_valid
    of its kernel's weight (of its area) has data, and where none has.
    """
    if (rows[1] - rows[0]) * (cols[1] - cols[0]) > CELLS:
        return _halves(place, rows, cols, source, method, min_valid)
    foot = place(rows, cols)
    if not foot.valid.any():
        return np.full(foot.valid.shape, np.nan)
    kernel = Kernel(foot, method)
    if kernel.size > TAPS and foot.valid.size > 1:
        return _halves(place, rows, cols, source, method, min_valid)
    return _apply(kernel, source, min_valid)


def _halves(place, rows, cols, source, method, min_valid):
    parts, axis = _split(rows, cols)
    return np.concatenate([warp(place, r, c, source, method, min_valid) for r, c in parts], axis=axis)


def _split(rows, cols):
    """Two halves of a block, across its longer side, and the axis to join them on."""
    (r0, r1), (c0, c1) = rows, cols
    if r1 - r0 >= c1 - c0:
        mid = (r0 + r1) // 2
        return [((r0, mid), cols), ((mid, r1), cols)], 0
    mid = (c0 + c1) // 2
    return [(rows, (c0, mid)), (rows, (mid, c1))], 1
