//go:build linux

package native

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/containers"
	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc/<pid>/stat.
const tick = 10 * time.Millisecond

// meter tells what each request cost from what the container used up to then.
type meter struct {
	stat      *os.File // /proc/<pid>/stat of the payload; nil where it was not found
	peak      *os.File // the most memory that the container held; nil where the kernel does not say
	looked    bool
	user, sys time.Duration // up to the last request
}

// read returns what was used since it was last called: processor time of the
// payload and of the children that it has waited for, in hundredths of a second,
// and the most memory that the container held at any time.
func (m *meter) read(b *box) containers.Usage {
	if !m.looked {
		m.looked = true
		m.find(b)
		m.peak = b.leaf.openPeak()
	}
	u := containers.Usage{MaxRSS: readPeak(m.peak)}
	user, sys, ok := m.times()
	if !ok {
		return u
	}
	u.User, u.System = user-m.user, sys-m.sys
	m.user, m.sys = user, sys
	return u
}

// find finds the payload: the one child of the init.
func (m *meter) find(b *box) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.init.Pid))
	for _, list := range lists {
		pids, _ := os.ReadFile(list)
		if f := strings.Fields(string(pids)); len(f) > 0 {
			m.stat, _ = os.Open("/proc/" + f[0] + "/stat")
			return
		}
	}
}

// times are those of the payload and of its children that have ended.
func (m *meter) times() (user, sys time.Duration, ok bool) {
	if m.stat == nil {
		return 0, 0, false
	}
	var buf [1024]byte
	stat := readStart(m.stat, buf[:])
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // after the name, which may hold anything
	if len(f) < 15 {
		return 0, 0, false
	}
	var v [4]int64 // utime, stime, cutime, cstime
	for i := range v {
		v[i], _ = strconv.ParseInt(string(f[11+i]), 10, 64)
	}
	return time.Duration(v[0]+v[2]) * tick, time.Duration(v[1]+v[3]) * tick, true
}

// readStart reads what a file of the kernel's holds, in one piece.
func readStart(f *os.File, buf []byte) []byte {
	n, _ := unix.Pread(int(f.Fd()), buf, 0)
	return buf[:max(n, 0)]
}

// rest is what the container used in all, less what was told before.
func (m *meter) rest(all containers.Usage) containers.Usage {
	all.User, all.System = max(all.User-m.user, 0), max(all.System-m.sys, 0)
	return all
}
