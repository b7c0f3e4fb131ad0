//go:build linux

package native_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// serving is a spec whose payload serves: it prints what lies at the paths, and
// writes to each of the places.
func serving(t testing.TB, read string, content string) containers.Spec {
	spec := probe(t, "serve", read)
	spec.Mounts = []containers.Mount{
		{Kind: containers.Content, Target: "/cube/request.json", Content: []byte(content)},
		{Kind: containers.Tmpfs, Target: "/cube/in", Fill: func(root *os.Root) error { return root.WriteFile("x", []byte(content), 0o444) }},
		{Kind: containers.Tmpfs, Target: "/cube/out", Size: 1 << 20, Keep: true, Dirs: []string{"a"}},
	}
	return spec
}

// serveOne has the session serve, and returns what was printed.
func serveOne(t testing.TB, s containers.Session, spec containers.Spec) (string, *containers.Exit, error) {
	var out bytes.Buffer
	spec.Stdout = &out
	exit, err := s.Serve(t.Context(), spec)
	if err == nil {
		t.Cleanup(func() { exit.Close() })
	}
	return out.String(), exit, err
}

func TestAPrivateFileIsThePayloadsAloneAndStays(t *testing.T) {
	r := newRunner(t, native.Config{})
	private := func(value string) containers.Spec {
		spec := serving(t, "/cube/secrets/token", "{}")
		spec.Mounts = append(spec.Mounts, containers.Mount{Kind: containers.Content, Target: "/cube/secrets/token", Content: []byte(value), Private: true})
		return spec
	}
	once := probe(t, "stat", "/cube/secrets/token", "/cube/request.json") // without root all that there is belongs to one user
	once.Mounts = private("key").Mounts
	if got := succeed(t, r, once); !strings.HasPrefix(got, "/cube/secrets/token: -r-------- mine\n/cube/request.json: -r--r--r--") {
		t.Errorf("got %q", got)
	}
	s, err := r.Start(t.Context(), private("key"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if out, _, err := serveOne(t, s, private("key")); err != nil || !strings.HasPrefix(out, "/cube/secrets/token: ok: \"key\"\n") {
			t.Errorf("%v: it printed %q", err, out)
		}
	}
	if _, _, err := serveOne(t, s, private("another")); !errors.Is(err, containers.ErrUsedUp) {
		t.Errorf("with another one: %v", err)
	}
}

func TestASessionServesOneRequestAfterAnother(t *testing.T) {
	r := newRunner(t, native.Config{})
	s, err := r.Start(t.Context(), serving(t, "/cube/request.json", "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 5 {
		content := fmt.Sprintf("request %d", i)
		out, exit, err := serveOne(t, s, serving(t, "/cube/request.json", content))
		if err != nil || !exit.Answered || exit.Code != i {
			t.Fatalf("%v, %v: %s", exit, err, out)
		}
		want := fmt.Sprintf("/cube/request.json: ok: %q\n", content)
		if !strings.HasPrefix(out, want) {
			t.Errorf("it printed %q, want %q", out, want)
		}
		root, err := exit.OpenKept("/cube/out")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := root.ReadFile("a/served"); string(b) != fmt.Sprint(i) {
			t.Errorf("it left %q, %v", b, err)
		}
		root.Close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Serve(t.Context(), serving(t, "/cube/request.json", "late")); !errors.Is(err, containers.ErrUsedUp) {
		t.Errorf("after its end: %v", err)
	}
}

func TestWhatIsPrintedAtTheStartIsTheFirstRequests(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec, token := serving(t, "", "0"), fmt.Sprintf("greeting-%d", os.Getpid())
	spec.Args = []string{"/probe", "greet", token}
	s, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	waitFor(t, "the payload to have printed", func() bool { return processesWith(t, token) == 2 })
	for _, want := range []string{"hello\n", ""} {
		if out, _, err := serveOne(t, s, spec); out != want || err != nil {
			t.Errorf("it printed %q, want %q: %v", out, want, err)
		}
	}
}

func TestASessionRefusesTheMountsOfAnother(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := serving(t, "/cube/request.json", "0")
	s, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	spec.Mounts = spec.Mounts[:2]
	if _, err := s.Serve(t.Context(), spec); !errors.Is(err, containers.ErrSpec) {
		t.Error(err)
	}
}

func TestASessionEndsWithItsRequestsContext(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := probe(t, "sleep")
	s, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Serve(ctx, spec); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestACommandThatCannotStartIsTheSpecsFault(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := probe(t)
	spec.Args = []string{"/none"}
	s, err := r.Start(t.Context(), spec)
	if err == nil {
		defer s.Close()
		_, err = s.Serve(t.Context(), spec)
	}
	if !errors.Is(err, containers.ErrSpec) {
		t.Error(err)
	}
}
