//go:build !linux

package query

func threadTime() int64 { return 0 }
