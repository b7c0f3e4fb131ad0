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
)

// tick is the unit of times in /proc/<pid>/stat.
const tick = 10 * time.Millisecond

// meter tells what each request cost from what the container used up to then.
type meter struct {
	stat      *os.File // /proc/<pid>/stat of the payload; nil where it was not found
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
	}
	u := containers.Usage{MaxRSS: b.leaf.peakMemory()}
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
	n, _ := m.stat.ReadAt(buf[:], 0)
	f := bytes.Fields(buf[bytes.LastIndexByte(buf[:n], ')')+1 : n]) // after the name, which may hold anything
	if len(f) < 15 {
		return 0, 0, false
	}
	var v [4]int64 // utime, stime, cutime, cstime
	for i := range v {
		v[i], _ = strconv.ParseInt(string(f[11+i]), 10, 64)
	}
	return time.Duration(v[0]+v[2]) * tick, time.Duration(v[1]+v[3]) * tick, true
}

// rest is what the container used in all, less what was told before.
func (m *meter) rest(all containers.Usage) containers.Usage {
	all.User, all.System = max(all.User-m.user, 0), max(all.System-m.sys, 0)
	return all
}
