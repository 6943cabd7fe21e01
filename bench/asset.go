package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// asset uploads binary data and downloads it again, beside a copy of a file that is
// synced to disk.
func (f *features) asset(ctx context.Context) error {
	bytes := int64(f.assetMB) * 1_000_000
	path := filepath.Join(f.env.scratch, "original")
	want, err := writeFile(path, pattern(f.assetMB))
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := copyFile(path, path+"-copy"); err != nil {
		return err
	}
	copied := time.Since(begin)
	q := f.client(0)
	if err := q.call(ctx, f.app, "POST", f.app.Path("files"), []byte(`{"name":"large"}`), "", nil); err != nil {
		return err
	}
	before, _ := f.env.usage()
	begin = time.Now()
	if err := f.upload(ctx, path, bytes); err != nil {
		return err
	}
	up := time.Since(begin)
	middle, _ := f.env.usage()
	begin = time.Now()
	got, err := f.download(ctx)
	if err != nil {
		return err
	}
	down := time.Since(begin)
	after, known := f.env.usage()
	if got != want {
		return errors.New("what was downloaded is not what was uploaded")
	}
	rate := func(d time.Duration) string { return fmt.Sprintf("%.0f MB/s", float64(bytes)/1e6/d.Seconds()) }
	fmt.Fprintf(f.out, "\n%d MB: file copied and synced at %s, uploaded at %s (%.2f of that), downloaded at %s (%.2f)\n",
		f.assetMB, rate(copied), rate(up), copied.Seconds()/up.Seconds(), rate(down), copied.Seconds()/down.Seconds())
	if known {
		fmt.Fprintf(f.out, "resident memory of the server before, after upload, after download: %d, %d, %d MB; at most %d\n",
			before.ResidentBytes/1e6, middle.ResidentBytes/1e6, after.ResidentBytes/1e6, after.PeakBytes/1e6)
	}
	return q.close()
}

func (f *features) request(ctx context.Context, method string, body io.Reader, length int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.app.Addr+f.app.Path("files", "large"), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	req.Header.Set("Authorization", "Bearer "+f.app.Token)
	req.Header.Set("Accept", "application/octet-stream")
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 500)) // what can be read of it helps
		return nil, errors.Join(fmt.Errorf("%s of the data: status %d: %s", method, res.StatusCode, said), res.Body.Close())
	}
	return res, nil
}

func (f *features) upload(ctx context.Context, path string, length int64) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	res, err := f.request(ctx, http.MethodPut, file, length)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (f *features) download(ctx context.Context) (sum [sha256.Size]byte, err error) {
	res, err := f.request(ctx, http.MethodGet, nil, 0)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.Copy(h, res.Body)
	h.Sum(sum[:0])
	return sum, errors.Join(err, res.Body.Close())
}

// writeFile writes a file and gives the sum of what is in it.
func writeFile(path string, from io.Reader) (sum [sha256.Size]byte, err error) {
	to, err := os.Create(path)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, h), from)
	h.Sum(sum[:0])
	return sum, errors.Join(err, to.Close())
}

// copyFile copies a file to disk.
func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Sync(), target.Close())
}
