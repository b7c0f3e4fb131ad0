// Hotspots brings fire detections onto a grid. Asked for an index it splits
// them into parts of a day and a degree; asked for a tile it reads the parts that
// the tile meets.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type span struct{ Lo, Hi int64 }

type request struct {
	Operation string
	Tile      struct{ T, Y, X span }
	Grid      struct {
		DX, DY, X0, Y0 float64
		Time           struct{ Origin, Step int64 }
	}
	Sources map[string]struct {
		File  string
		Parts []string
	}
	Outputs map[string]struct{ File string }
}

// row is one detection: where and when, its size in km, and its power.
type row struct {
	lat, lon, scan, track, power float64
	day                          int64 // Unix seconds
	text                         []string
}

func main() {
	data, err := os.ReadFile("/cube/request.json")
	check(err)
	var r request
	check(json.Unmarshal(data, &r))
	if r.Operation == "index" {
		index(r)
		return
	}
	run(r)
}

var columns = []string{"latitude", "longitude", "scan", "track", "acq_date", "acq_time", "satellite", "frp"}

// read reads the columns that count, in their order.
func read(file string) (rows []row) {
	f, err := os.Open(file)
	check(err)
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	check(err)
	if len(records) == 0 {
		return nil
	}
	at := make([]int, len(columns))
	for i, name := range columns {
		if at[i] = slices.Index(records[0], name); at[i] < 0 {
			fmt.Fprintf(os.Stderr, "no column %s\n", name)
			os.Exit(65)
		}
	}
	for _, record := range records[1:] {
		text := make([]string, len(columns))
		for i, k := range at {
			text[i] = record[k]
		}
		rows = append(rows, parse(text))
	}
	return rows
}

func parse(text []string) row {
	number := func(i int) float64 {
		v, err := strconv.ParseFloat(text[i], 64)
		check(err)
		return v
	}
	day, err := time.Parse(time.DateOnly, text[4])
	check(err)
	return row{number(0), number(1), number(2), number(3), number(7), day.Unix(), text}
}

// key is the part that a row belongs to: its day and its degree.
func (r row) key() [3]int64 {
	return [3]int64{r.day, int64(math.Floor(r.lat)), int64(math.Floor(r.lon))}
}

type part struct {
	Offset int        `json:"offset"`
	Size   int        `json:"size"`
	CRS    string     `json:"crs"`
	Bounds [4]float64 `json:"bounds"`
	Time   [2]int64   `json:"time"`
}

func index(r request) {
	groups := map[[3]int64][]row{}
	for _, row := range read(r.Sources["detections"].File) {
		groups[row.key()] = append(groups[row.key()], row)
	}
	var out bytes.Buffer
	parts := []part{}
	for _, rows := range groups { // in any order: a part has its place by itself
		slices.SortFunc(rows, func(a, b row) int { return slices.Compare(a.text, b.text) })
		p := part{Offset: out.Len(), CRS: "EPSG:4326", Bounds: [4]float64{180, 90, -180, -90}, Time: [2]int64{rows[0].day, rows[0].day + 86400}}
		w := csv.NewWriter(&out)
		check(w.Write(columns))
		for _, row := range rows {
			check(w.Write(row.text))
			row.widen(&p.Bounds)
		}
		w.Flush()
		p.Size = out.Len() - p.Offset
		parts = append(parts, p)
	}
	text, err := json.Marshal(map[string]any{"parts": parts})
	check(err)
	check(os.WriteFile(r.Outputs["parts"].File, out.Bytes(), 0o644))
	check(os.WriteFile(r.Outputs["index"].File, text, 0o644))
}

// widen makes bounds hold the row's footprint.
func (r row) widen(b *[4]float64) {
	dy := r.track / 2 / 111
	dx := r.scan / 2 / 111 / math.Cos(r.lat*math.Pi/180)
	b[0], b[1] = min(b[0], r.lon-dx), min(b[1], r.lat-dy)
	b[2], b[3] = max(b[2], r.lon+dx), max(b[3], r.lat+dy)
}

func run(r request) {
	ny, nx := r.Tile.Y.Hi-r.Tile.Y.Lo, r.Tile.X.Hi-r.Tile.X.Lo
	values := make([]float32, (r.Tile.T.Hi-r.Tile.T.Lo)*ny*nx)
	for i := range values {
		values[i] = float32(math.NaN())
	}
	g := r.Grid
	for _, file := range r.Sources["detections"].Parts {
		for _, row := range read(file) {
			t := (row.day-g.Time.Origin)/g.Time.Step - r.Tile.T.Lo
			y := int64(math.Floor((g.Y0-row.lat)/g.DY)) - r.Tile.Y.Lo
			x := int64(math.Floor((row.lon-g.X0)/g.DX)) - r.Tile.X.Lo
			if t < 0 || t >= r.Tile.T.Hi-r.Tile.T.Lo || y < 0 || y >= ny || x < 0 || x >= nx {
				continue
			}
			if v := &values[(t*ny+y)*nx+x]; !(float64(*v) >= row.power) {
				*v = float32(row.power)
			}
		}
	}
	check(write(r.Outputs["radiative_power"].File, r.Tile.T.Hi-r.Tile.T.Lo, ny, nx, values))
}

func write(file string, nt, ny, nx int64, values []float32) error {
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d), }", nt, ny, nx)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	out = append(out, header...)
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return os.WriteFile(file, out, 0o644)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
