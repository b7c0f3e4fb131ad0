package images

import (
	"fmt"
	"runtime"
	"strings"
)

// Platform is what an image runs on, in OCI's words.
type Platform struct {
	OS   string
	Arch string // amd64 or arm64
}

// HostPlatform is Linux on the architecture of this machine.
func HostPlatform() Platform { return Platform{OS: "linux", Arch: runtime.GOARCH} }

// String is the platform as "linux/amd64".
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// ParsePlatform reads a platform: "linux/amd64", or an architecture alone by
// any of its usual names ("amd64", "x86_64", "arm64", "aarch64").
func ParsePlatform(s string) (Platform, error) {
	os, arch, ok := strings.Cut(s, "/")
	if !ok {
		os, arch = "linux", s
	}
	arch = strings.TrimSuffix(arch, "/v8")
	switch arch {
	case "x86_64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	}
	p := Platform{OS: os, Arch: arch}
	if _, ok := machines[arch]; !ok || os != "linux" {
		return Platform{}, fmt.Errorf("platform %q: it is linux/amd64 or linux/arm64", s)
	}
	return p, nil
}

// machine is what one architecture is called where.
type machine struct {
	deb     string // Debian's architecture
	triplet string // Debian's library folder
	wheel   string // the end of a wheel's platform tag
	loader  string // the dynamic loader's path in the image
	env     string // Go's baseline for it
}

var machines = map[string]machine{
	"amd64": {"amd64", "x86_64-linux-gnu", "x86_64", "usr/lib64/ld-linux-x86-64.so.2", "GOAMD64=v1"},
	"arm64": {"arm64", "aarch64-linux-gnu", "aarch64", "usr/lib/ld-linux-aarch64.so.1", "GOARM64=v8.0"},
}

func (p Platform) machine() machine { return machines[p.Arch] }
