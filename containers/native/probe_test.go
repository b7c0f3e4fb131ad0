//go:build linux

package native_test

import (
	"testing"

	"github.com/cubebuild/cube/containers/native"
)

func TestDoctorFindsWhatTheSandboxNeeds(t *testing.T) {
	before := hostState(t)
	for _, c := range native.Probe(t.Context(), native.Config{Worker: worker(t)}) {
		t.Logf("%-20s %v %s", c.Name, c.OK, c.Detail)
		if c.Name == "" || c.Detail == "" || c.Advice == "" {
			t.Errorf("says too little: %+v", c)
		}
		// The other tests ran sandboxes here, so what they require is there.
		if c.Required && !c.OK {
			t.Errorf("%s is missed: %s", c.Name, c.Detail)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
