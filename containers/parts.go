package containers

import (
	"os"
	"path"
)

// partsInMemory is how many bytes of parts an action is shown in memory: so its
// container can serve a tile that meets other ones, and a file costs less than a
// mount. Larger parts are mounted where they are.
const partsInMemory = 16 << 20

// maxPartDirs is how many directories of parts are filled.
const maxPartDirs = 16

// partBytes is what the parts that an action sees take in memory: 0 where they are
// not to be there.
func partBytes(sources []SourceFile) (n int64) {
	for _, s := range sources {
		if !s.Part {
			continue
		}
		info, err := os.Stat(s.Path)
		if err != nil {
			return 0 // to mount it says why
		}
		if n += info.Size() + page; n > partsInMemory {
			return 0
		}
	}
	return n
}

// page is more than what a file takes beside its bytes.
const page = 4 << 10

// mountSources shows whole sources where they are, and parts in a place that is
// filled anew for each tile.
func (s *staged) mountSources(sources []SourceFile) {
	var dirs []string
	parts := map[string][]SourceFile{} // by directory
	for _, src := range sources {
		if !src.Part || s.parts == 0 {
			s.mount(Mount{Kind: Bind, Source: src.Path, Target: src.Target})
			continue
		}
		dir := path.Dir(src.Target)
		if parts[dir] == nil {
			dirs = append(dirs, dir)
		}
		parts[dir] = append(parts[dir], src)
	}
	for _, dir := range dirs {
		s.mountParts(dir, parts[dir], len(dirs) <= maxPartDirs)
	}
}

func (s *staged) mountParts(dir string, parts []SourceFile, fills bool) {
	if !fills {
		for _, p := range parts {
			s.mount(Mount{Kind: Bind, Source: p.Path, Target: p.Target})
		}
		return
	}
	size := s.parts + 8<<20
	if s.serves {
		size = roomForAll
	}
	s.mount(Mount{Kind: Tmpfs, Target: dir, Size: size, Fill: func(root *os.Root) error {
		return fill(root, func(t *tree) error {
			for _, p := range parts {
				b, err := os.ReadFile(p.Path)
				if err == nil {
					err = t.write(path.Base(p.Target), b)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}})
}
