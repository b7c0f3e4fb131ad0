//go:build linux

package native_test

func beEngine(dir string) {}
