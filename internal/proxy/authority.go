package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"sync"
	"time"
)

// authority signs a certificate for each host that a driver names. All that is
// in its certificates is fixed, and its signatures are those of RFC 6979, so
// that they are the same bytes in every run.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	der  []byte

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

// seedText is what the key is made from; it is no secret, see the package's doc.
const seedText = "cube sandbox authority 1"

var theAuthority = sync.OnceValues(newAuthority)

// Authority is the certificate of the one whom a sandbox is to trust, in PEM.
func Authority() ([]byte, error) {
	a, err := theAuthority()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.der}), nil
}

func newAuthority() (*authority, error) {
	seed := sha256.Sum256([]byte(seedText))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		return nil, err
	}
	a := &authority{key: key, issued: map[string]*tls.Certificate{}}
	template := certificate("cube sandbox network")
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	if a.der, err = x509.CreateCertificate(nil, template, template, &key.PublicKey, key); err != nil {
		return nil, err
	}
	a.cert, err = x509.ParseCertificate(a.der)
	return a, err
}

// certificate is what all certificates have, each valid as long as anybody may
// replay anything.
func certificate(name string) *x509.Certificate {
	sum := sha256.Sum256([]byte(name))
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(sum[:16]),
		Subject:      pkix.Name{CommonName: name[:min(len(name), 64)]},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// maxIssued bounds the hosts of one process: a pattern lets a driver name many.
const maxIssued = 4096

var errTooManyHosts = errors.New("too many hosts")

// issue returns the certificate of a host.
func (a *authority) issue(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.issued[host]; c != nil {
		return c, nil
	}
	if len(a.issued) >= maxIssued {
		return nil, errTooManyHosts
	}
	template := certificate(host)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(nil, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
	a.issued[host] = c
	return c, nil
}
