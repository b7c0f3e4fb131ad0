package config

import (
	"os"
	"testing"
)

func BenchmarkManifestFromLabel(b *testing.B) {
	label, err := os.ReadFile("testdata/label.json")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ManifestFromLabel(label); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load("testdata/cube/good-all.yaml"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseProducer(b *testing.B) {
	data, err := os.ReadFile("testdata/producer/good-all.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParseProducer("producer.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLock(b *testing.B) {
	data, err := os.ReadFile("testdata/full.lock")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParseLock("cube.lock", data); err != nil {
			b.Fatal(err)
		}
	}
}
