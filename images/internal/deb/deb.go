// Package deb reads Debian packages, and fetches them with apt into folders of
// its own, so that neither root nor a Debian installation is changed.
package deb

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/images/internal/layer"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// ErrFormat is in the chain when a file is not a Debian package.
var ErrFormat = errors.New("not a Debian package")

const (
	arMagic    = "!<arch>\n"
	maxControl = 16 << 20
	maxWindow  = 128 << 20
)

// Package is the control part of a Debian package.
type Package struct {
	Control  Stanza
	Raw      string // the control file as it is
	Postinst []byte // the script that dpkg would run after unpacking, or nil
}

// Read reads a package: first its control part, then its files, which are
// handed to each (nil hands out nothing). The reader of an entry is valid
// during the call.
func Read(r io.Reader, limits layer.Limits, each func(*tar.Header, io.Reader) error) (*Package, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(br, magic); err != nil || string(magic) != arMagic {
		return nil, fmt.Errorf("%w: no ar archive", ErrFormat)
	}
	var pkg *Package
	for {
		name, size, err := arHeader(br)
		if err == io.EOF {
			return nil, fmt.Errorf("%w: it ends before its files", ErrFormat)
		}
		if err != nil {
			return nil, err
		}
		member := io.LimitReader(br, size)
		switch {
		case strings.HasPrefix(name, "control.tar"):
			if pkg, err = readControl(name, member); err != nil {
				return nil, err
			}
		case strings.HasPrefix(name, "data.tar"):
			if pkg == nil {
				return nil, fmt.Errorf("%w: its files come before its control part", ErrFormat)
			}
			if each == nil {
				return pkg, nil
			}
			return pkg, readData(name, member, limits, each)
		}
		if _, err := io.Copy(io.Discard, member); err != nil {
			return nil, err
		}
		if size%2 == 1 {
			br.Discard(1)
		}
	}
}

// arHeader reads the 60 bytes before a member of an ar archive.
func arHeader(r io.Reader) (name string, size int64, err error) {
	var h [60]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: truncated", ErrFormat)
		}
		return "", 0, err
	}
	if h[58] != '`' || h[59] != '\n' {
		return "", 0, fmt.Errorf("%w: bad member header", ErrFormat)
	}
	size, err = strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("%w: bad member size", ErrFormat)
	}
	return strings.TrimSuffix(strings.TrimSpace(string(h[:16])), "/"), size, nil
}

// decompress opens a member by the end of its name.
func decompress(name string, r io.Reader) (io.Reader, func(), error) {
	nop := func() {}
	switch path.Ext(name) {
	case ".tar":
		return r, nop, nil
	case ".gz":
		z, err := gzip.NewReader(r)
		return z, nop, err
	case ".xz":
		br := bufio.NewReader(r)
		if head, _ := br.Peek(64); xzWindow(head) > maxWindow {
			return nil, nop, fmt.Errorf("%w: xz window of more than %d bytes", ErrFormat, maxWindow)
		}
		z, err := xz.NewReader(br)
		return z, nop, err
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nop, err
		}
		return z, z.Close, nil
	}
	return nil, nop, fmt.Errorf("%w: unknown compression %s", ErrFormat, name)
}

// xzWindow is the memory that an xz stream's first block asks for, or 0 where
// its header does not say.
func xzWindow(head []byte) int64 {
	const block = 12 // after the stream's header
	if len(head) < block+2 || head[block] == 0 {
		return 0
	}
	rest := head[block+2:]
	for _, flag := range []byte{0x40, 0x80} { // sizes, as varints, where flags say so
		if head[block+1]&flag != 0 {
			_, n := binary.Uvarint(rest)
			rest = rest[max(n, 0):]
		}
	}
	if len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 40 {
		return 0
	}
	return int64(2|rest[2]&1) << (rest[2]/2 + 11)
}

func readControl(name string, r io.Reader) (*Package, error) {
	z, done, err := decompress(name, r)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	}
	defer done()
	pkg := &Package{}
	tr := tar.NewReader(io.LimitReader(z, maxControl))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
		}
		switch path.Clean(h.Name) {
		case "control":
			raw, err := io.ReadAll(tr)
			if err != nil {
				return nil, fmt.Errorf("%w: its control file: %w", ErrFormat, err)
			}
			pkg.Raw = string(raw)
			stanzas, err := ParseStanzas(bytes.NewReader(raw))
			if err != nil || len(stanzas) != 1 {
				return nil, fmt.Errorf("%w: its control file: %v", ErrFormat, err)
			}
			pkg.Control = stanzas[0]
		case "postinst":
			if pkg.Postinst, err = io.ReadAll(tr); err != nil {
				return nil, fmt.Errorf("%w: postinst: %w", ErrFormat, err)
			}
		}
	}
	if pkg.Control["Package"] == "" || pkg.Control["Version"] == "" {
		return nil, fmt.Errorf("%w: it has no name or no version", ErrFormat)
	}
	return pkg, nil
}

func readData(name string, r io.Reader, limits layer.Limits, each func(*tar.Header, io.Reader) error) error {
	ratio := layer.LimitRatio(r, limits)
	z, done, err := decompress(name, ratio.Compressed())
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	}
	defer done()
	tr := tar.NewReader(ratio.Unpacked(z))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
		}
		if err := each(h, tr); err != nil {
			return err
		}
	}
}

// Alternative is one line of a postinst script that calls update-alternatives.
type Alternative struct {
	Link, Target string // absolute paths
	Priority     int
}

// Alternatives finds the calls of update-alternatives --install whose words
// are literal, with their slaves.
func (p *Package) Alternatives() []Alternative {
	script := bytes.ReplaceAll(p.Postinst, []byte("\\\n"), []byte(" "))
	var out []Alternative
	for line := range strings.Lines(string(script)) {
		words := strings.Fields(line)
		if len(words) == 0 || path.Base(words[0]) != "update-alternatives" {
			continue
		}
		out = append(out, parseAlternative(words[1:])...)
	}
	return out
}

func parseAlternative(words []string) []Alternative {
	var out []Alternative
	prio := 0
	for i := 0; i+3 < len(words); i++ {
		link, target := words[i+1], words[i+3]
		if !strings.HasPrefix(link, "/") || !strings.HasPrefix(target, "/") || strings.ContainsAny(link+target, "$*`'\"") {
			continue
		}
		switch words[i] {
		case "--install":
			if i+4 < len(words) {
				prio, _ = strconv.Atoi(words[i+4])
			}
			out = append(out, Alternative{link, target, prio})
		case "--slave":
			out = append(out, Alternative{link, target, prio})
		}
	}
	return out
}
