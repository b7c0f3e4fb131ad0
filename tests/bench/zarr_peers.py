#!/usr/bin/env python3
"""Zarr read, write and halo windows: package cube/zarr beside zarr-python,
zarrs and tensorstore, interleaved in one run on the same arrays.

usage: zarr_peers.py ZARRPEER [--dir D] [--reps 3] [--threads 2] [--side 8192] [--best]

ZARRPEER is the program of tests/bench/zarrpeer. Workloads: plane, side x side
float32 in chunks of 512 x 512; series, 48 x side/8 x side/8 (at least 1024) in chunks of
1 x 512 x 512. Codec: zstd level 3 alone, and blosc (zstd, byte shuffle).
Prints, per operation, MB of decoded data (1e6 bytes) by the clock and per
CPU-second, medians (with --best the best of the runs, which on a busy machine
says more), and the ratio of ours to the fastest other. The file that --json
names gets the figures of every run.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("zarrpeer")
parser.add_argument("--dir", default="")
parser.add_argument("--reps", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--side", type=int, default=8192)
parser.add_argument("--best", action="store_true")
parser.add_argument("--work", default="plane,series")
parser.add_argument("--json", default="")
args = parser.parse_args()
for name in ("RAYON_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "BLOSC_NTHREADS"):
    os.environ[name] = str(args.threads)

import numcodecs.blosc  # noqa: E402
import tensorstore as ts  # noqa: E402
import zarr  # noqa: E402
import zarrs  # noqa: E402, F401

numcodecs.blosc.set_nthreads(1)  # chunks are what runs side by side


def plane(n, seed=20240601):
    """A terrain-like field: plane waves and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.linspace(0, 1, n)[:, None], np.linspace(0, 1, n)[None, :]
    z = np.zeros((n, n), np.float32)
    for k in range(1, 13):
        ky, kx = rng.integers(-3 * k, 3 * k + 1, 2)
        a = (300.0 / k) * np.exp(1j * (2 * np.pi * ky * y + rng.uniform(0, 2 * np.pi)))
        b = np.exp(1j * 2 * np.pi * kx * x)
        z += (a.real * b.real - a.imag * b.imag).astype(np.float32)
    return z + rng.standard_normal((n, n), dtype=np.float32) * np.float32(0.05)


def series(t, n):
    base, rng = plane(n, 7), np.random.default_rng(8)
    out = np.empty((t, n, n), np.float32)
    for i in range(t):
        out[i] = 280 + 0.02 * base + np.float32(8 * np.sin(2 * np.pi * i / 24)) + rng.standard_normal((n, n), dtype=np.float32) * np.float32(0.02)
    return out


class ZarrPython:
    def __init__(self, pipeline):
        self.config = {"async.concurrency": 8, "threading.max_workers": args.threads, "codec_pipeline.path": pipeline}

    def write(self, path, values, chunks, codec):
        level = zarr.codecs.ZstdCodec(level=3) if codec == "zstd" else zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=4)
        with zarr.config.set(self.config):
            t = clock()
            array = zarr.create_array(store=path, shape=values.shape, dtype="f4", chunks=chunks, compressors=level, filters=None, fill_value=0.0, zarr_format=3)
            array[...] = values
            return since(t)

    def read(self, path, values):
        with zarr.config.set(self.config):
            array = zarr.open_array(path, mode="r", zarr_format=3)
            t = clock()
            got = array[...]
            return since(t), np.array_equal(got, values)

    def windows(self, path, starts, size, cache):
        with zarr.config.set(self.config):
            array = zarr.open_array(path, mode="r", zarr_format=3)
            t = clock()
            for s in starts:
                array[tuple(slice(a, a + n) for a, n in zip(s, size))]
            return since(t)


class TensorStore:
    def open(self, path, cache=0, **more):
        context = ts.Context({"data_copy_concurrency": {"limit": args.threads}, "file_io_concurrency": {"limit": args.threads}, "cache_pool": {"total_bytes_limit": cache}})
        return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path + "/", "file_io_sync": False}, "recheck_cached_data": False, **more}, context=context, open="metadata" not in more, create="metadata" in more).result()

    def write(self, path, values, chunks, codec):
        compress = {"name": "zstd", "configuration": {"level": 3}} if codec == "zstd" else {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}}
        meta = {"shape": list(values.shape), "data_type": "float32", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, compress], "fill_value": 0.0}
        t = clock()
        self.open(path, metadata=meta).write(values).result()
        return since(t)

    def read(self, path, values):
        array = self.open(path)
        t = clock()
        got = array.read().result()
        return since(t), np.array_equal(got, values)

    def windows(self, path, starts, size, cache):
        array = self.open(path, cache)
        t = clock()
        for s in starts:
            array[tuple(slice(a, a + n) for a, n in zip(s, size))].read().result()
        return since(t)


class Ours:
    def __init__(self):
        self.process = subprocess.Popen([args.zarrpeer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(dict(request, Threads=args.threads)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("zarrpeer gave up")
        answer = json.loads(line)
        return (answer["Wall"], answer["CPU"]), answer["Equal"]

    def write(self, path, values, chunks, codec):
        return self.ask(Op="write", Path=path, Shape=values.shape, Chunks=chunks, Codec=codec, Level=3 if codec == "zstd" else 1)[0]

    def read(self, path, values):
        return self.ask(Op="read", Path=path, Shape=values.shape)

    def windows(self, path, starts, size, cache):
        return self.ask(Op="windows", Path=path, Windows=starts, Size=size, Cache=cache)[0]


def clock():
    return time.perf_counter(), time.process_time()


def since(t):
    return time.perf_counter() - t[0], time.process_time() - t[1]


ours = Ours()
peers = {
    "cube": ours,
    "zarr-python": ZarrPython("zarr.core.codec_pipeline.BatchedCodecPipeline"),
    "zarrs": ZarrPython("zarrs.ZarrsCodecPipeline"),
    "tensorstore": TensorStore(),
}
results = {}


def record(work, operation, peer, megabytes, seconds):
    wall, cpu = seconds
    results.setdefault((work, operation), {}).setdefault(peer, []).append((megabytes / wall, megabytes / max(cpu, 1e-9)))


def run(folder, name, values, chunks, size, count):
    megabytes = values.nbytes / 1e6
    rng = np.random.default_rng(99)
    starts = [[int(rng.integers(0, n - s + 1)) for n, s in zip(values.shape, size)] for _ in range(count)]
    windows_mb = count * 4 * float(np.prod(size)) / 1e6
    values.tofile(folder + "/values")
    ours.ask(Op="load", Path=folder + "/values")
    for codec in ("zstd", "blosc"):
        work = f"{name} {codec}"
        for rep in range(args.reps):
            for peer in sorted(peers, reverse=rep % 2 == 1):
                path = f"{folder}/{peer}"
                shutil.rmtree(path, ignore_errors=True)
                record(work, "write", peer, megabytes, peers[peer].write(path, values, chunks, codec))
            for peer in sorted(peers, reverse=rep % 2 == 1):
                path = f"{folder}/tensorstore"  # all read the same files
                seconds, equal = peers[peer].read(path, values)
                assert equal, (work, peer)
                record(work, "read", peer, megabytes, seconds)
                record(work, "halo windows", peer, windows_mb, peers[peer].windows(path, starts, size, 0))
                if peer in ("cube", "tensorstore"):
                    record(work, "halo windows, chunk cache", peer, windows_mb, peers[peer].windows(path, starts, size, 512 << 20))


with tempfile.TemporaryDirectory(dir=args.dir or None) as folder:
    if "plane" in args.work:
        run(folder, "plane", plane(args.side), [512, 512], [544, 544], 200)
    if "series" in args.work:
        run(folder, "series", series(48, max(args.side // 8, 1024)), [1, 512, 512], [8, 544, 544], 60)

rows = []
for (work, operation), by in results.items():
    middle = max if args.best else statistics.median
    median = {p: [middle(v[i] for v in runs) for i in (0, 1)] for p, runs in by.items()}
    others = [median[p] for p in median if p != "cube"]
    ratio = [median["cube"][i] / max(o[i] for o in others) for i in (0, 1)]
    rows.append({"work": work, "operation": operation, "clock": {p: [v[0] for v in runs] for p, runs in by.items()}, "cpu": {p: [v[1] for v in runs] for p, runs in by.items()}})
    print(f"{work:13s} {operation:26s} x{ratio[0]:.2f} clock, x{ratio[1]:.2f} CPU   " + "  ".join(f"{p} {m[0]:.0f}/{m[1]:.0f}" for p, m in median.items()))
if args.json:
    with open(args.json, "w") as f:
        json.dump(rows, f, indent=1)
