//go:build linux

package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// filler gives every field of a value one that no other field has.
type filler struct{ n int }

func (f *filler) next() int { f.n++; return f.n }

// fill sets all that v is made of. A kind of field that it does not know fails
// the test: whoever adds one says here how it passes.
func (f *filler) fill(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	if f.special(v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := path + "." + v.Type().Field(i).Name
			if !v.Type().Field(i).IsExported() {
				t.Fatalf("%s is not exported, and so does not pass", name)
			}
			f.fill(t, v.Field(i), name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(t, v.Index(i), path)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(t, key, path)
			f.fill(t, value, path)
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, v.Elem(), path)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.next()))
	case reflect.Uint8:
		v.SetUint(uint64(f.next() % 256))
	case reflect.Float64:
		v.SetFloat(float64(f.next()) + 0.5)
	default:
		t.Fatalf("%s is of a kind that this test does not know: %s", path, v.Type())
	}
}

// special fills what is not any value of its kind, or passes in another way than
// in the body.
func (f *filler) special(v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *io.Writer, **containers.Network: // see notSaid
	case **os.File: // a test gives its own
	case *graph.Number:
		*p = graph.Number(fmt.Sprint(f.next()))
	case *json.RawMessage:
		*p = fmt.Appendf(nil, `{"n":%d}`, f.next())
	default:
		return false
	}
	return true
}

// notSaid are the fields that do not pass: the log comes back in frames of its
// own; who fetches is run by the engine itself; and three fields of an image are
// for lineage, which the engine writes.
var notSaid = cmp.Options{
	cmpopts.IgnoreFields(containers.Action{}, "Log", "Network"),
	cmpopts.IgnoreFields(graph.Image{}, "Ref", "Config", "Manifest"),
}

// pass sends a frame over a socket, or where stream is set as bytes.
func pass(t *testing.T, f Frame, stream bool) Frame {
	t.Helper()
	if stream {
		b, err := Append(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(bytes.NewReader(b), nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	ours, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := NewSocket(file)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	sent := make(chan error, 1)
	go func() { sent <- ours.Send(f) }()
	got, err := theirs.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEveryFieldOfAnActionPasses(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		var want containers.Action
		(&filler{}).fill(t, reflect.ValueOf(&want).Elem(), "Action")
		want.Inputs[1].Values = bytes.Repeat([]byte("beside "), Inline) // more than goes into a frame
		frame, err := SayAction(7, want)
		if err != nil {
			t.Fatal(err)
		}
		got := pass(t, frame, stream)
		a, release, err := HearAction(got)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, a, notSaid); diff != "" || got.Action != 7 {
			t.Errorf("of action %d (-said +heard):\n%s", got.Action, diff)
		}
		release()
		got.Close()
	}
}

func TestAnActionThatFetchesIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := SayAction(1, containers.Action{Network: &containers.Network{}}); err == nil {
		t.Error("its network was left out without a word")
	}
}

func TestEveryFieldOfAResultPasses(t *testing.T) {
	t.Parallel()
	var want containers.Result
	(&filler{}).fill(t, reflect.ValueOf(&want).Elem(), "Result")
	path := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(path, []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	for role, o := range want.Outputs { // values, or a file
		o.Values = bytes.Repeat(o.Values, Inline)
		want.Outputs[role] = o
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want.Outputs["file"] = containers.Output{File: f, Name: "as it was called"}
	defer want.Close()
	frame, err := SayResult(7, &want)
	if err != nil {
		t.Fatal(err)
	}
	r, err := HearResult(pass(t, frame, false))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	whole := cmp.Comparer(func(a, b *os.File) bool { return content(t, a) == content(t, b) })
	if diff := cmp.Diff(&want, r, whole); diff != "" {
		t.Errorf("-said +heard:\n%s", diff)
	}
}

func content(t *testing.T, f *os.File) string {
	if f == nil {
		return ""
	}
	b := make([]byte, 100)
	n, err := f.ReadAt(b, 0)
	if err != io.EOF {
		t.Error(err)
	}
	return string(b[:n])
}

func TestEveryFieldOfAFailurePasses(t *testing.T) {
	t.Parallel()
	var want containers.Failure
	(&filler{}).fill(t, reflect.ValueOf(&want).Elem(), "Failure")
	frame, err := Say(Failed, 7, &want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Hear[*containers.Failure](pass(t, frame, true))
	if diff := cmp.Diff(&want, got); diff != "" || err != nil {
		t.Errorf("%v, -said +heard:\n%s", err, diff)
	}
}
