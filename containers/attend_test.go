//go:build linux

package containers_test

import (
	"bytes"
	"testing"

	"github.com/cubebuild/cube/containers"
)

func TestWhatIsStartedInAnAttendedSandboxIsNotToldToServe(t *testing.T) {
	t.Parallel()
	a := action(t, step{Do: "print", Data: []byte("ran once\n")}, step{Do: "exit", N: 7})
	a.Batch = 100
	var out bytes.Buffer
	exit, err := newBench(t, 0).Attend(t.Context(), a, containers.Attendance{Args: []string{"/payload"}, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	defer exit.Close()
	if exit.Code != 7 || out.String() != "ran once\n" {
		t.Errorf("exit %d, printed %q", exit.Code, out.String())
	}
}
