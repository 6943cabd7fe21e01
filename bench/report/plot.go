package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Point is a place of a plot.
type Point struct{ X, Y float64 }

// Series is a line of a plot.
type Series struct {
	Name   string
	Points []Point
}

// Plot shows series over two logarithmic axes.
type Plot struct {
	Title, XLabel, YLabel string
	Series                []Series
}

// Places of the parts of a plot.
const (
	plotWidth, plotHeight = 1120, 620
	plotLeft, plotTop     = 80, 50
	plotRight, plotBottom = 650, 550
	legendLeft            = plotRight + 30
	legendLine            = 22
)

// colours are those of Okabe and Ito, which colour-blind people tell apart; after
// them lines are dashed.
func colours() []string {
	return []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}
}

// scale maps values to places by their logarithms.
type scale struct{ from, to, first, last float64 }

func newScale(values []float64, first, last float64, whole bool) scale {
	s := scale{from: math.Inf(1), to: math.Inf(-1), first: first, last: last}
	for _, v := range values {
		s.from, s.to = min(s.from, math.Log10(v)), max(s.to, math.Log10(v))
	}
	if whole {
		s.from, s.to = math.Floor(s.from), math.Ceil(s.to)
	}
	if s.to-s.from < 0.1 {
		s.from, s.to = s.from-0.5, s.to+0.5
	}
	return s
}

func (s scale) at(v float64) float64 {
	return s.first + (math.Log10(v)-s.from)/(s.to-s.from)*(s.last-s.first)
}

// WriteSVG writes the plot as an SVG document.
func (p *Plot) WriteSVG(w io.Writer) error {
	var xs, ys []float64
	for _, s := range p.Series {
		for _, at := range s.Points {
			if at.X <= 0 || at.Y <= 0 {
				return fmt.Errorf("plot %s of %s: (%g, %g) has no logarithm", p.Title, s.Name, at.X, at.Y)
			}
			xs, ys = append(xs, at.X), append(ys, at.Y)
		}
	}
	if len(xs) == 0 {
		return errors.New("plot " + p.Title + ": there are no points")
	}
	x, y := newScale(xs, plotLeft+20, plotRight-20, false), newScale(ys, plotBottom, plotTop, true)
	height := max(plotHeight, plotTop+legendLine*(len(p.Series)+1))
	d := &drawing{}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, plotWidth, height, plotWidth, height)
	d.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`, plotWidth, height)
	d.text(plotLeft, 28, "start", `font-size="16" font-weight="bold"`, p.Title)
	p.axes(d, x, y, xs)
	for i, s := range p.Series {
		d.series(i, s, x, y)
	}
	d.printf("</svg>")
	if _, err := io.WriteString(w, d.String()); err != nil {
		return fmt.Errorf("write plot: %w", err)
	}
	return nil
}

// axes draws both axes. The first has a tick at every value there is, the second at
// every 1, 2 and 5.
func (p *Plot) axes(d *drawing, x, y scale, xs []float64) {
	seen := make(map[float64]bool)
	for _, v := range xs {
		if seen[v] {
			continue
		}
		seen[v] = true
		d.line(x.at(v), plotTop, x.at(v), plotBottom, "#dddddd")
		d.text(x.at(v), plotBottom+18, "middle", "", Count(int(v)))
	}
	for power := int(math.Floor(y.from)); power <= int(math.Ceil(y.to)); power++ {
		for _, digit := range []float64{1, 2, 5} {
			v := digit * math.Pow(10, float64(power))
			if l := math.Log10(v); l < y.from-1e-9 || l > y.to+1e-9 {
				continue
			}
			colour := "#eeeeee"
			if digit == 1 {
				colour = "#cccccc"
			}
			d.line(plotLeft, y.at(v), plotRight, y.at(v), colour)
			d.text(plotLeft-8, y.at(v)+4, "end", "", fmt.Sprintf("%g", math.Round(v*1e6)/1e6))
		}
	}
	d.line(plotLeft, plotBottom, plotRight, plotBottom, "#000000")
	d.line(plotLeft, plotTop, plotLeft, plotBottom, "#000000")
	const middleX, middleY = (plotLeft + plotRight) / 2, (plotTop + plotBottom) / 2
	d.text(middleX, plotBottom+42, "middle", `font-size="13"`, p.XLabel)
	d.text(22, middleY, "middle", fmt.Sprintf(`font-size="13" transform="rotate(-90 22 %d)"`, middleY), p.YLabel)
}

// drawing is an SVG document that grows.
type drawing struct{ strings.Builder }

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) line(x1, y1, x2, y2 float64, colour string) {
	d.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, x1, y1, x2, y2, colour)
}

// text writes words; attributes are more of the element's.
func (d *drawing) text(x, y float64, anchor, attributes, words string) {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(words)) // a builder does not fail
	d.printf(`<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`, x, y, anchor, attributes, escaped.String())
}

// series draws a line with its points, and its line of the legend.
func (d *drawing) series(i int, s Series, x, y scale) {
	colour := colours()[i%len(colours())]
	style := fmt.Sprintf(`stroke="%s" stroke-width="2" fill="none"`, colour)
	if dash := i / len(colours()); dash > 0 {
		style += fmt.Sprintf(` stroke-dasharray="%d 4"`, 10/dash)
	}
	var path []string
	for _, at := range s.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(at.X), y.at(at.Y)))
		d.printf(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, x.at(at.X), y.at(at.Y), colour)
	}
	d.printf(`<polyline points="%s" %s/>`, strings.Join(path, " "), style)
	at := float64(plotTop + 10 + i*legendLine)
	d.printf(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" %s/>`, legendLeft, at, legendLeft+30, at, style)
	d.text(legendLeft+38, at+4, "start", "", s.Name)
}

// Plot shows the median of first pages by the size of the collection.
func (q *Queries) Plot() *Plot {
	p := &Plot{Title: "First page over 1 connection, by size of the collection", XLabel: "entities in the collection", YLabel: "p50, µs"}
	for _, name := range q.bySize() {
		s := Series{Name: name}
		for _, n := range q.entitiesOf() {
			if row, ok := q.Find(name, 1, n); ok && row.Latency.P50 > 0 {
				s.Points = append(s.Points, Point{X: float64(n), Y: row.Latency.P50})
			}
		}
		if len(s.Points) > 0 {
			p.Series = append(p.Series, s)
		}
	}
	return p
}
