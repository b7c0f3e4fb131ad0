package grid

import (
	"errors"
	"testing"
)

func TestAWindowIsCoveredWithItsMargin(t *testing.T) {
	t.Parallel()
	utm := func(d float64, b Box) Grid { return Grid{Lattice: Lattice{utm10, d, d, 500000, 4200000}, Box: b} }
	degrees := Grid{Lattice: Lattice{"EPSG:4326", 0.25, 0.25, 0, 90}, Box: box(0, 720, 0, 1440)}
	tests := []struct {
		name   string
		dst    Lattice
		box    Box
		src    Grid
		margin int64
		want   Box
	}{
		{"its own cells", utm(30, Box{}).Lattice, box(3, 7, 2, 9), utm(30, box(0, 100, 0, 100)), 0, box(3, 7, 2, 9)},
		{"its own cells and a margin", utm(30, Box{}).Lattice, box(3, 7, 2, 9), utm(30, box(0, 100, 0, 100)), 2, box(1, 9, 0, 11)},
		{"clipped to the source", utm(30, Box{}).Lattice, box(-9, 7, 95, 200), utm(30, box(0, 100, 0, 100)), 1, box(0, 8, 94, 100)},
		{"beside the source", utm(30, Box{}).Lattice, box(-9, -3, 0, 10), utm(30, box(0, 100, 0, 100)), 1, Box{}},
		{"coarser cells", utm(100, Box{}).Lattice, box(1, 2, 1, 2), utm(30, box(0, 100, 0, 100)), 0, box(3, 7, 3, 7)},
		{"a turn of longitude away", Lattice{"EPSG:4326", 0.25, 0.25, -120, 40}, box(0, 4, 0, 8), degrees, 1, box(199, 205, 959, 969)},
		{"the seam, for which all columns are read", Lattice{"EPSG:4326", 0.25, 0.25, -1, 40}, box(0, 4, 0, 8), degrees, 0, box(200, 204, 0, 1440)},
		{"the whole globe", Lattice{"EPSG:4326", 1, 1, -180, 90}, box(0, 180, 0, 360), degrees, 0, degrees.Box},
		{"the pole, for which all columns are read", Lattice{"EPSG:3413", 25000, 25000, -100000, 100000}, box(0, 8, 0, 8), degrees, 0, box(0, 7, 0, 1440)},
		{"no cells", utm(30, Box{}).Lattice, Box{}, utm(30, box(0, 100, 0, 100)), 3, Box{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Cover(tt.dst, tt.box, tt.src, tt.margin)
			if err != nil || got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestCoverAcrossCRSsHoldsEveryCellsCentre(t *testing.T) {
	t.Parallel()
	for name, l := range layouts {
		got, err := Cover(l.dst, l.box, l.src, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMapping(l.dst, l.src.Lattice, l.src.Box)
		if err != nil {
			t.Fatal(err)
		}
		each(l.box, func(c [3]int64) {
			at := m.at(float64(c[1])+0.5, float64(c[2])+0.5)
			cell := box(int64(at[0]), int64(at[0])+1, int64(at[1]), int64(at[1])+1).Intersect(l.src.Box)
			if !cell.Empty() && at[0] >= 0 && at[1] >= 0 && !got.Contains(cell) {
				t.Fatalf("%s: cell %v lies at %v, outside %s", name, c, at, got)
			}
		})
		if got.Cells() > l.src.Box.Cells() {
			t.Errorf("%s: covers %s of %s", name, got, l.src.Box)
		}
	}
}

func TestAWindowWithoutAnImageIsDisjoint(t *testing.T) {
	t.Parallel()
	_, err := Cover(Lattice{"EPSG:4326", 1, 1, 60, -84}, box(0, 5, 0, 5), Grid{Lattice: Lattice{"EPSG:3413", 30, 30, 0, 0}, Box: box(0, 9, 0, 9)}, 0)
	if !errors.Is(err, ErrDisjoint) {
		t.Errorf("got %v, want ErrDisjoint", err)
	}
	if _, err := Cover(Lattice{"", 1, 1, 0, 0}, box(0, 5, 0, 5), Grid{Lattice: Lattice{utm10, 30, 30, 0, 0}}, 0); !errors.Is(err, ErrCRS) {
		t.Errorf("got %v, want ErrCRS", err)
	}
	if _, err := Cover(Lattice{utm10, 1, 1, 0, 0}, box(0, 5, 0, 5), Grid{Lattice: Lattice{utm10, 30, 30, 0, 0}, Box: box(0, 1, 0, 1)}, -1); err == nil {
		t.Error("a negative margin is taken")
	}
}

func TestDefaultsNeverMixCategories(t *testing.T) {
	t.Parallel()
	fine, coarse := Lattice{utm10, 30, 30, 0, 0}, Lattice{"EPSG:4326", 0.01, 0.01, -123, 38}
	for _, tt := range []struct {
		dst, src    Lattice
		box         Box
		categorical bool
		want        Resampling
	}{
		{coarse, fine, box(0, 5, 0, 5), true, Mode},
		{coarse, fine, box(0, 5, 0, 5), false, Average},
		{fine, coarse, box(-140000, -139990, 16000, 16010), true, Nearest},
		{fine, coarse, box(-140000, -139990, 16000, 16010), false, Bilinear},
		{fine, fine, box(0, 5, 0, 5), false, Bilinear},
	} {
		down, err := Downscale(tt.dst, tt.box, tt.src)
		if got := Default(tt.categorical, down); err != nil || got != tt.want {
			t.Errorf("%v from %v: got %s, %v; want %s", tt.dst, tt.src, got, err, tt.want)
		}
	}
}
