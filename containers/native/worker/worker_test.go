package worker_test

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/cubebuild/cube/containers/native/worker"
)

// The start of the first is most of what a container costs: what it imports
// counts.
func TestProgramsAreStaticAndSmall(t *testing.T) {
	for name, most := range map[string]int{worker.Init: 3 << 20, worker.Node: 16 << 20} {
		b, err := worker.Build(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s has a %v segment", name, p.Type)
			}
		}
		if len(b) > most {
			t.Errorf("%s is %d bytes", name, len(b))
		}
	}
}
