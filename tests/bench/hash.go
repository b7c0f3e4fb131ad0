//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
)

// hashing names chunks of 1 MiB on one core, beside openssl's SHA-256.
func hashing(ctx context.Context, l *lab) ([]comparison, error) {
	openssl, ok := l.find("openssl", "hashing")
	if !ok {
		return nil, nil
	}
	c := comparison{ours: "`cube.ChunkDigest` of 1 MiB, one core", theirs: "`openssl speed -evp sha256`", unit: "MB/s", limit: 0.9, atLeast: true}
	for range l.rounds(10, 2) {
		c.a = append(c.a, digestSpeed(time.Second))
		b, err := opensslSpeed(ctx, openssl)
		if err != nil {
			return nil, err
		}
		c.b = append(c.b, b)
	}
	return []comparison{c}, nil
}

const hashed = 1 << 20

func digestSpeed(during time.Duration) float64 {
	values := make([]byte, hashed)
	for i := range values {
		values[i] = byte(i * 7)
	}
	n, started := 0, time.Now()
	for time.Since(started) < during {
		cube.ChunkDigest(graph.Float32, []int64{512, 512}, values)
		n++
	}
	return float64(n) * hashed / 1e6 / time.Since(started).Seconds()
}

// opensslSpeed is what openssl says of itself, in MB/s.
func opensslSpeed(ctx context.Context, openssl string) (float64, error) {
	out, err := exec.CommandContext(ctx, openssl, "speed", "-mr", "-elapsed", "-seconds", "1", "-bytes", strconv.Itoa(hashed), "-evp", "sha256").Output()
	if err != nil {
		return 0, fmt.Errorf("openssl speed: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] != "+F" || len(fields) < 4 {
			continue
		}
		v, err := strconv.ParseFloat(fields[3], 64)
		return v / 1e6, err
	}
	return 0, fmt.Errorf("openssl speed: no figure in %q", out)
}
