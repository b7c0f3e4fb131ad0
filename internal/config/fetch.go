package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
)

// FetchedName is the name of a source that an instance's producer fetches. No
// source of cube.yaml can have it.
func FetchedName(instance, role string) string { return instance + "." + role }

// withFetched are the sources of an instance, those that it fetches among them.
func withFetched(p Producer, m graph.Manifest) map[string]string {
	fetched := m.Fetched()
	if len(fetched) == 0 {
		return p.Sources
	}
	all := maps.Clone(p.Sources)
	if all == nil {
		all = map[string]string{}
	}
	for _, role := range fetched {
		all[role] = FetchedName(p.Name, role)
	}
	return all
}

// fetched adds the sources that an instance fetches, as the lock pins them.
func (a assembly) fetched(p Producer, m graph.Manifest, sources map[string]graph.Source) {
	pin := a.lock.Fetches[p.Name]
	for _, role := range m.Fetched() {
		src := graph.Source{Name: FetchedName(p.Name, role)}
		if f, ok := pin.Sources[role]; ok {
			src.URI = "recording:" + pin.Recording.SHA256.String()
			src.SHA256, src.Size, src.Ext = f.SHA256, f.Size, f.Ext
			src.Fetched = &graph.Fetched{Recording: pin.Recording.SHA256, At: pin.Fetched}
		}
		sources[src.Name] = src
	}
}

// network checks that the workspace lets a producer reach what its contract asks
// for, no less and no more: an image from elsewhere gets no network by asking.
func (a assembly) network(p Producer, m graph.Manifest) {
	var missing []string
	for _, host := range m.Capabilities.Network {
		if !slices.Contains(p.Network, host) {
			missing = append(missing, host)
		}
	}
	if len(missing) > 0 {
		e := a.Errorf(a.node("producers", p.Name, "network"), "producer %s asks for the network, to reach %s", m.Name, strings.Join(missing, ", "))
		e.Hint = fmt.Sprintf("to let it, add to %s: network: [%s]", p.Name, strings.Join(quoted(m.Capabilities.Network), ", "))
	}
	for i, host := range p.Network {
		if !slices.Contains(m.Capabilities.Network, host) {
			e := a.Errorf(a.node("producers", p.Name, "network", fmt.Sprint(i)), "producer %s does not ask for %s", m.Name, host)
			e.Hint, e.Choices = "remove it", m.Capabilities.Network
		}
	}
}

// quoted are hosts as YAML has them: one that begins with a star is an alias
// without quotes.
func quoted(hosts []string) []string {
	out := slices.Clone(hosts)
	for i, h := range out {
		if strings.HasPrefix(h, "*") {
			out[i] = `"` + h + `"`
		}
	}
	return out
}
