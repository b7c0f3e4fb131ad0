package proxy

import (
	"cmp"
	"net"
	"net/netip"
	"strings"
)

// Hosts is a list of hosts that may be reached: data.example.org at the ports of
// http and https, data.example.org:8443 at that port alone, and *.example.org
// for every name below it, but not for the name itself.
type Hosts []string

// Allow reports whether the list names a host at a port.
func (h Hosts) Allow(host, port string) bool {
	for _, pattern := range h {
		if matches(pattern, host, port) {
			return true
		}
	}
	return false
}

// names reports whether a word is the name of a host on the list, or of a domain
// of one.
func (h Hosts) names(word string) bool {
	for _, pattern := range h {
		name, port, _ := strings.Cut(pattern, ":")
		if matches(pattern, word, cmp.Or(port, "443")) || name == word || strings.HasSuffix(name, "."+word) {
			return true
		}
	}
	return false
}

func matches(pattern, host, port string) bool {
	name, own, hasPort := strings.Cut(pattern, ":")
	if hasPort && own != port || !hasPort && port != "80" && port != "443" {
		return false
	}
	if suffix, ok := strings.CutPrefix(name, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return host == name
}

// notPublic are addresses that lead to the host itself, its neighbours, or to
// another family's addresses, beside those that net/netip knows.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// public reports whether an address, as it is about to be dialled, is one of the
// internet.
func public(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
