package inside

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var full = Config{
	Layers: []string{"/b", "/a"}, Args: []string{"/x", ""}, Env: []string{"A=1"}, Dir: "/cube/scratch",
	UID: 65534, GID: 1<<32 - 2,
	Mounts: []Mount{
		{Kind: Bind, Source: "/s", Target: "/cube/in", Writable: true},
		{Kind: Tmpfs, Target: "/cube/out", Size: 1 << 40, Handle: true, Fill: true, Dirs: []string{"a", "b"}},
		{Kind: Content, Target: "/cube/request.json", Content: []byte("{}")},
		{Kind: Content, Target: "/cube/secrets/token", Content: []byte("x"), Private: true},
	},
	Processes: 7, TmpSize: 1 << 30, Filter: []byte{1, 2, 3}, Stdout: 1, Stderr: 2, Stdin: 4, Answers: 5, Serve: true, Terminal: true, Listen: 3128, Tasks: 3,
}

func TestConfigDecodesToWhatWasEncoded(t *testing.T) {
	for _, want := range []Config{{}, full} {
		got, err := Decode(want.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(normal(&want), normal(got)); diff != "" {
			t.Error(diff)
		}
	}
}

// normal makes empty lists nil, which are the same on the wire.
func normal(c *Config) Config {
	n := *c
	for _, list := range []*[]string{&n.Layers, &n.Args, &n.Env} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(n.Filter) == 0 {
		n.Filter = nil
	}
	n.Mounts = append([]Mount(nil), c.Mounts...)
	for i := range n.Mounts {
		if len(n.Mounts[i].Dirs) == 0 {
			n.Mounts[i].Dirs = nil
		}
		if len(n.Mounts[i].Content) == 0 {
			n.Mounts[i].Content = nil
		}
	}
	return n
}

func TestTruncatedConfigIsRefused(t *testing.T) {
	whole := full.Append(nil)
	for n := range whole {
		if _, err := Decode(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(whole))
		}
	}
	if _, err := Decode(append(whole, 0)); err == nil {
		t.Error("a byte too many was taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full.Append(nil))
	f.Add((&Config{}).Append(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(c.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(normal(c), normal(again)); diff != "" {
			t.Error(diff)
		}
	})
}
