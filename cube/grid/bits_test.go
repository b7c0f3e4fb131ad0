package grid

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"testing"
)

// wantBits is the digest of a large sample of coordinates and resampled
// values. It was the same when made on amd64 and on arm64; a change of it is a
// change of ResampleVersion.
const wantBits = "ccf77a49be2c4e47a1193c8e65ecebe0db914ece9d48fe663f8952a93453a8f9"

func TestResultsAreTheSameBitsOnEveryArchitecture(t *testing.T) {
	t.Parallel()
	h := sha256.New()
	add := func(v ...float64) {
		for _, f := range v {
			h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)))
		}
	}
	for _, p := range goldenPoints(t) {
		x, y, err := p.crs.Forward(p.lon, p.lat)
		if err != nil {
			t.Fatal(err)
		}
		lon, lat, err := p.crs.Inverse(x, y)
		if err != nil {
			t.Fatal(err)
		}
		add(x, y, lon, lat)
	}
	names := make([]string, 0, len(layouts))
	for name := range layouts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l := layouts[name]
		src := noise(l.src.Lattice, l.src.Box, "float64", nil)
		for _, method := range Resamplings() {
			dst := Raster{Lattice: l.dst, Box: l.box, DType: "float64", Data: make([]byte, 8*l.box.Cells())}
			if err := Resample(dst, src, method, ResampleOptions{}); err == nil {
				h.Write(dst.Data)
			}
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != wantBits {
		t.Errorf("the digest is %s, want %s", got, wantBits)
	}
}

func TestNoProductIsFusedWithASumOnArm64(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles for arm64")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go tool")
	}
	cmd := exec.CommandContext(t.Context(), goTool, "build", "-gcflags=-S", ".", "./proj")
	cmd.Env = append(cmd.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	asm, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, asm)
	}
	if !bytes.Contains(asm, []byte("FMULD")) {
		t.Fatal("this is not arm64 assembly")
	}
	fused := regexp.MustCompile(`(?m)^.*\bFN?M(ADD|SUB)[SD]\b.*$`)
	for _, line := range fused.FindAll(asm, 10) {
		t.Errorf("fused: %s", line)
	}
	// The standard library's own functions may be fused, so that only those
	// which move bits or are exact may be called.
	inexact := regexp.MustCompile(`CALL\s+math\.([A-Za-z0-9]+)`)
	for _, call := range inexact.FindAllSubmatch(asm, -1) {
		switch string(call[1]) {
		case "frexp", "Frexp", "ldexp", "Ldexp", "Nextafter", "Nextafter32", "Floor", "Ceil", "RoundToEven", "floor", "ceil":
		case "Hypot", "hypot", "Remainder", "Mod", "mod", "remainder": // of ResolutionMetres and WKT, which no value depends on
		default:
			t.Errorf("calls math.%s", call[1])
		}
	}
}
