package containers

import (
	"os"
	"path"
	"slices"
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
// filled anew for each tile, and that is there also where it stays empty.
func (s *staged) mountSources(sources []SourceFile, dirs []string) {
	parts := map[string][]SourceFile{} // by directory
	fills := s.parts > 0 && len(dirs) <= maxPartDirs
	for _, src := range sources {
		if dir := path.Dir(src.Target); src.Part && fills {
			parts[dir] = append(parts[dir], src)
			continue
		}
		s.mount(Mount{Kind: Bind, Source: src.Path, Target: src.Target})
	}
	for _, dir := range dirs {
		if len(parts[dir]) > 0 || !hasParts(sources, dir) {
			s.mountParts(dir, parts[dir])
		}
	}
}

func hasParts(sources []SourceFile, dir string) bool {
	return slices.ContainsFunc(sources, func(s SourceFile) bool { return s.Part && path.Dir(s.Target) == dir })
}

func (s *staged) mountParts(dir string, parts []SourceFile) {
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
