package graph

import "testing"

// sharedDigest is the digest of what slope's actions share, after a change.
func sharedDigest(t *testing.T, h Host, change func(*Instance)) Digest {
	t.Helper()
	ws := terrain()
	ws.Instances[1].Manifest.Capabilities.Batch = 2
	change(&ws.Instances[1])
	p, err := Resolve(ws, "slope")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Vertices[1].Shared(&ws, h)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestACPUClassIsKeyedOnlyWhereTheProducerAsksForIt(t *testing.T) {
	t.Parallel()
	old, recent := Host{CPUClass: "amd64-v2"}, Host{CPUClass: "amd64-v4"}
	as := func(*Instance) {}
	asking := func(i *Instance) { i.Manifest.Capabilities.CPUClass = true }
	if sharedDigest(t, old, as) != sharedDigest(t, recent, as) {
		t.Error("a class that nobody asked for is in the key")
	}
	if sharedDigest(t, old, asking) == sharedDigest(t, recent, asking) {
		t.Error("a class that the producer asks for is not in the key")
	}
}

func TestWhatAContainerFindsIsInItsKey(t *testing.T) {
	t.Parallel()
	known := map[Digest]string{sharedDigest(t, Host{}, func(*Instance) {}): "nothing"}
	for name, change := range map[string]func(*Instance){
		"threads":     func(i *Instance) { i.Manifest.Capabilities.CPUs = 3 },
		"no batches":  func(i *Instance) { i.Manifest.Capabilities.Batch = 1 },
		"checkpoints": func(i *Instance) { i.Manifest.Capabilities.Checkpoint = true },
		"salt":        func(i *Instance) { i.Salt++ },
		"params":      func(i *Instance) { i.Params = []byte(`{"method":"other"}`) },
	} {
		d := sharedDigest(t, Host{}, change)
		if other, taken := known[d]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		known[d] = name
	}
}

func TestWhatAContainerIsNotToldReachesNoKey(t *testing.T) {
	t.Parallel()
	want := sharedDigest(t, Host{}, func(*Instance) {})
	for name, change := range map[string]func(*Instance){
		"name":        func(i *Instance) { i.Name = "another" },
		"cost":        func(i *Instance) { i.Manifest.Capabilities.Cost = "gpu" },
		"batch":       func(i *Instance) { i.Manifest.Capabilities.Batch += 7 },
		"memory":      func(i *Instance) { i.Manifest.Capabilities.Memory += 1 << 20 },
		"timeout":     func(i *Instance) { i.Manifest.Capabilities.Timeout += 1e9 },
		"description": func(i *Instance) { i.Manifest.Description = "in other words" },
		"long name":   func(i *Instance) { i.Manifest.Produces[0].LongName = "in other words" },
	} {
		if sharedDigest(t, Host{}, change) != want {
			t.Errorf("the key knows the %s", name)
		}
	}
}
