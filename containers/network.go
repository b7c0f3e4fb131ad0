package containers

import (
	"net"
	"slices"
	"strings"

	"github.com/cubebuild/cube/graph"
)

// Network is what answers an action in place of the network.
type Network struct {
	Serve     func(net.Listener) // see Spec.Network
	Authority []byte             // the certificate that it is to trust, PEM
}

// networkEnv tells a payload where its proxy is and whom to trust, in the words
// of the libraries that ask: what is set may change with graph.NetworkVersion
// only.
var networkEnv = [][2]string{
	{"HTTP_PROXY", "http://" + NetworkAddress}, {"http_proxy", "http://" + NetworkAddress},
	{"HTTPS_PROXY", "http://" + NetworkAddress}, {"https_proxy", "http://" + NetworkAddress},
	{"NO_PROXY", ""}, {"no_proxy", ""},
	{"SSL_CERT_FILE", graph.AuthorityPath}, {"REQUESTS_CA_BUNDLE", graph.AuthorityPath}, {"CURL_CA_BUNDLE", graph.AuthorityPath},
	{"GIT_SSL_CAINFO", graph.AuthorityPath}, {"AWS_CA_BUNDLE", graph.AuthorityPath}, {"NODE_EXTRA_CA_CERTS", graph.AuthorityPath},
}

// stage lays out what leads to the network. A nil Network lays out nothing.
func (n *Network) stage(st *staged) {
	if n == nil {
		return
	}
	st.spec.Network = n.Serve
	st.mount(Mount{Kind: Content, Target: graph.AuthorityPath, Content: n.Authority})
	for _, kv := range networkEnv {
		st.spec.Env = slices.DeleteFunc(st.spec.Env, func(e string) bool { return strings.HasPrefix(e, kv[0]+"=") })
		st.spec.Env = append(st.spec.Env, kv[0]+"="+kv[1])
	}
	slices.Sort(st.spec.Env)
}
