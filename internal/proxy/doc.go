// Package proxy is what a driver meets in place of the network: an HTTP proxy
// that reaches named hosts and no others, and records what they answer.
//
// A [Proxy] serves a socket that listens inside a sandbox. It takes requests in
// absolute form (http) and CONNECT (https); there are no raw tunnels: the proxy
// itself speaks TLS with the driver, so that it sees requests and not bytes, and
// again with the host, whose certificate it verifies. It refuses hosts that are
// not on its list, methods that change things, and addresses that are not public
// whatever name led there.
//
// # Recordings
//
// Whatever is answered is kept: bodies in the user's cache of sources, by their
// SHA-256, and the exchanges as a [Recording], canonical JSON that is kept there
// too:
//
//	{"exchanges": [{"request":  {"method", "url", "headers", "body"},
//	                "response": {"status", "headers", "body", "size"}}, …],
//	 "version": 1}
//
// A request is known by its method, its normal URL, those of its headers that
// choose among answers (see requestHeaders), and the SHA-256 of its body; no
// credential is in it: Authorization and cookies are not, and in URLs REDACTED
// stands where one stood. Of an answer's headers, those in responseHeaders are
// kept, and only they are given to the driver, then and later: what is not
// recorded is not given. Cookies of a host stay in the proxy, which sends them
// back. Exchanges are in the order of their requests' text, equal requests in
// the order in which they came; so the order in which a driver's threads run is
// not in a recording. An answer that may be another at once (408, 429, 5xx) is
// given and not recorded; one that breaks off is neither.
//
// A secret that a driver has (Config.Secrets) is in no recording. In what is
// recorded of requests, of headers and of addresses that answers lead to, REDACTED
// stands in its place. An answer that holds one, in its body as it is or as base64
// (Basic authentication, too), hexadecimal, URLs, JSON or HTML write it, in whatever
// pieces it comes, is not kept, and neither given nor recorded to its end: a replay
// that was given other bytes would be none, and so the whole fetch is [ErrSecret].
// To see what is in bodies, hosts are asked for them as they are (Accept-Encoding:
// identity) where there are secrets. One that is sent with gzip all the same is
// looked into as it comes and as it unpacks; where it does not unpack to its very
// end, or to more than a body may have, it is refused like one that holds a secret,
// and so is any other coding, and several. Trailers are neither kept nor given.
// [Proxy.Guard] holds what a driver makes of its answers to the same.
//
// Of a secret that is JSON each text of 8 bytes or more counts by itself, and so
// does each such word of one that has several, such as a .netrc, but for the names
// and domains of the hosts and the words of that format.
//
// This guards against a portal that says back what it was told, and against a
// driver's mistake, not against either that wants to hide a secret. What is not
// seen: one in pieces over several answers (ranges), or with something between its
// letters (base64 in lines, UTF-16); one in other codings, encrypted, signed or
// hashed; one within what a file packs (zip, tar.gz); one of less than 4 bytes.
//
// With [Config.Known], requests are answered from a recording first: the n-th of
// equal requests gets the n-th answer, later ones the last. With
// [Config.Replay], they are answered from nothing else.
//
// # The authority
//
// [Authority] is the certificate that a sandbox is given to trust. Its key is
// made from a constant, so that everybody has it and nothing that a driver sees
// differs from run to run. That is safe because only a sandbox ever trusts it,
// in which nobody but this proxy can answer: whoever could misuse the key would
// have to be the engine. It is never added to what the host trusts, and the
// connection to the real host is verified against the host's own roots.
package proxy
