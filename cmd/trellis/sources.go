package main

import (
	"archive/zip"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is a file to be imported, or one within a zip file. It is opened several
// times.
type source struct {
	name string
	open func() (io.ReadCloser, error)
}

// sourcesOf finds what the arguments of an import name.
func sourcesOf(args []string, directories bool) (list []source, err error) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		paths := []string{arg}
		if info.IsDir() {
			if !directories {
				return nil, fmt.Errorf("%s is a directory", arg)
			}
			if paths, err = filepath.Glob(filepath.Join(arg, "*.json")); err != nil {
				return nil, err
			}
			if slices.Sort(paths); len(paths) == 0 {
				return nil, fmt.Errorf("there is no .json file in %s", arg)
			}
		}
		for _, path := range paths {
			found, err := sourcesIn(path)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			list = append(list, found...)
		}
	}
	return list, nil
}

// sourcesIn returns a file, or the files in it if it is a zip file.
func sourcesIn(path string) (list []source, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	if err = errors.Join(f.Close(), ignoreEOF(err)); err != nil {
		return nil, err
	}
	if string(magic[:2]) != "PK" {
		return []source{{path, func() (io.ReadCloser, error) { return openPlain(path, string(magic[:2]) == "\x1f\x8b") }}}, nil
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	for _, inside := range z.File {
		if name := inside.Name; !strings.HasSuffix(name, "/") {
			list = append(list, source{path + "/" + name, func() (io.ReadCloser, error) { return openZipped(path, name) }})
		}
	}
	return list, z.Close()
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// opened is a reader with all that is to be closed after it.
type opened struct {
	io.Reader
	closers []io.Closer
}

// Close closes everything.
func (o *opened) Close() error {
	var errs []error
	for _, c := range o.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func openPlain(path string, zipped bool) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil || !zipped {
		return f, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &opened{z, []io.Closer{z, f}}, nil
}

func openZipped(path, name string) (io.ReadCloser, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	f, err := z.Open(name)
	if err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return &opened{f, []io.Closer{f, z}}, nil
}
