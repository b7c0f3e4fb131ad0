package worker_test

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/cubebuild/cube/containers/native/worker"
)

func TestWorkerIsStaticAndSmall(t *testing.T) {
	b, err := worker.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v segment", p.Type)
		}
	}
	// Its start is most of what a container costs: what it imports counts.
	if most := 3 << 20; len(b) > most {
		t.Errorf("it is %d bytes", len(b))
	}
}
