package inside

import (
	"encoding/binary"
	"errors"
)

// Version is the version of the protocol between engine and init. It changes
// with every change of what they say to each other.
const Version = 6

// Kinds of Mount.
const (
	Bind uint8 = iota
	Tmpfs
	Content
)

// Config is what the init is told about one container.
type Config struct {
	// Layers are directories, highest first, at least two.
	Layers []string
	// Args, Env and Dir are the payload's; UID and GID whom it runs as.
	Args, Env []string
	Dir       string
	UID, GID  uint32
	// Mounts are made in order.
	Mounts []Mount
	// Processes caps the user's processes by RLIMIT_NPROC, where a user
	// namespace makes that a limit of this sandbox alone; zero does not.
	Processes uint64
	// TmpSize is the size of the file system behind /tmp and /dev/shm.
	TmpSize uint64
	// Filter is a seccomp program, as the kernel takes it.
	Filter []byte
	// Stdin, Stdout and Stderr say which descriptor of those that come with the
	// config is which, counted from one; zero is /dev/null.
	Stdin, Stdout, Stderr uint8
	// Answers says likewise which is the payload's descriptor 3; zero is none.
	Answers uint8
	// Terminal says that Stdin is a terminal: the payload's controlling one, and its
	// standard output and error.
	Terminal bool
	// Serve says that the payload serves one request after another: the engine
	// gets handles that it can write through at all times, and one on the base.
	Serve bool
	// Tasks is how many descriptors after those are v1 cgroups' task lists,
	// which the payload is to be born into.
	Tasks uint8
	// Listen is the port of 127.0.0.1, in the sandbox's own network, on which a
	// socket is to listen that the engine serves; zero is none.
	Listen uint16
}

// Mount is one entry of Config.Mounts.
type Mount struct {
	Kind           uint8
	Source, Target string
	Writable       bool
	Size           uint64
	Handle         bool     // send a handle of the tmpfs
	Fill           bool     // and wait for Go, before which the engine fills it
	Dirs           []string // made in the tmpfs, the payload's own
	Content        []byte
	Private        bool // the payload's own, and readable by nobody else
}

// ErrConfig is returned for bytes that are not an encoded Config.
var ErrConfig = errors.New("malformed config")

// Append appends the encoding of c to b.
func (c *Config) Append(b []byte) []byte {
	b = appendStrings(b, c.Layers)
	b = appendStrings(b, c.Args)
	b = appendStrings(b, c.Env)
	b = appendBytes(b, c.Dir)
	b = binary.AppendUvarint(b, uint64(c.UID))
	b = binary.AppendUvarint(b, uint64(c.GID))
	b = binary.AppendUvarint(b, uint64(len(c.Mounts)))
	for i := range c.Mounts {
		m := &c.Mounts[i]
		b = append(b, m.Kind, bit(m.Writable)|bit(m.Handle)<<1|bit(m.Fill)<<2|bit(m.Private)<<3)
		b = appendBytes(b, m.Source)
		b = appendBytes(b, m.Target)
		b = binary.AppendUvarint(b, m.Size)
		b = appendStrings(b, m.Dirs)
		b = appendBytes(b, m.Content)
	}
	b = binary.AppendUvarint(b, c.Processes)
	b = binary.AppendUvarint(b, c.TmpSize)
	b = appendBytes(b, c.Filter)
	return append(b, c.Stdin, c.Stdout, c.Stderr, c.Answers, bit(c.Serve)|bit(c.Terminal)<<1, c.Tasks, byte(c.Listen), byte(c.Listen>>8))
}

// Decode reads what Append wrote. The Config refers to b.
func Decode(b []byte) (*Config, error) {
	d := decoder{b: b}
	c := &Config{
		Layers: d.strings(), Args: d.strings(), Env: d.strings(), Dir: string(d.bytes()),
		UID: uint32(d.uint()), GID: uint32(d.uint()),
	}
	n := d.uint()
	for i := uint64(0); i < n && !d.bad; i++ {
		m := Mount{Kind: d.byte()}
		flags := d.byte()
		m.Writable, m.Handle, m.Fill, m.Private = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
		m.Source, m.Target = string(d.bytes()), string(d.bytes())
		m.Size, m.Dirs, m.Content = d.uint(), d.strings(), d.bytes()
		c.Mounts = append(c.Mounts, m)
	}
	c.Processes, c.TmpSize, c.Filter = d.uint(), d.uint(), d.bytes()
	c.Stdin, c.Stdout, c.Stderr, c.Answers = d.byte(), d.byte(), d.byte(), d.byte()
	how := d.byte()
	c.Serve, c.Terminal, c.Tasks = how&1 != 0, how&2 != 0, d.byte()
	c.Listen = uint16(d.byte()) | uint16(d.byte())<<8
	if d.bad || len(d.b) != 0 {
		return nil, ErrConfig
	}
	return c, nil
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendBytes(b, s)
	}
	return b
}

// decoder reads fields off b until one is bad; then all that follow are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) strings() []string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, string(d.bytes()))
	}
	return list
}
