package collections_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
)

// must makes a request that must succeed.
func must(b *testing.B, s *apitest.Server, method, path, body string) apitest.Answer {
	a, err := s.Do(method, s.App+path, s.Admin, body)
	if err != nil || a.Status != 200 {
		b.Errorf("%s %s: %v %d %.200s", method, path, err, a.Status, a.Body)
	}
	return a
}

// stars makes users who have so many followers each: star0, star100 …
func stars(b *testing.B, s *apitest.Server, sizes ...int) {
	b.Helper()
	most := slices.Max(sizes)
	for from := 0; from < most; from += 500 {
		var users []string
		for i := from; i < min(from+500, most); i++ {
			users = append(users, fmt.Sprintf(`{"username":"fan%d"}`, i))
		}
		must(b, s, "POST", "/users", "["+strings.Join(users, ",")+"]")
	}
	for _, size := range sizes {
		star := fmt.Sprintf("star%d", size)
		must(b, s, "POST", "/users", fmt.Sprintf(`{"username":%q,"email":"%s@example.test"}`, star, star))
		var all sync.WaitGroup
		for n := range 32 {
			all.Go(func() {
				for i := n; i < size; i += 32 {
					must(b, s, "POST", fmt.Sprintf("/users/fan%d/following/users/%s", i, star), "{}")
				}
			})
		}
		all.Wait()
	}
}

const benchActivity = `{"verb":"post","content":"Harvest is in, and it was a good one this year","category":"farm"}`

// BenchmarkPostActivity is one client that posts, by the number of followers: until the
// answer, and until everybody has it.
func BenchmarkPostActivity(b *testing.B) {
	s := apitest.Start(b)
	sizes := []int{0, 100, 1000, 10_000}
	stars(b, s, sizes...)
	for _, size := range sizes {
		for _, sync := range []string{"false", "true"} {
			b.Run(fmt.Sprintf("followers=%d/sync=%s", size, sync), func(b *testing.B) {
				for b.Loop() {
					must(b, s, "POST", fmt.Sprintf("/users/star%d/activities?sync=%s", size, sync), benchActivity)
				}
				b.StopTimer()
				must(b, s, "POST", fmt.Sprintf("/users/star%d/activities?sync=true", size), benchActivity) // earlier tasks have run before it
			})
		}
	}
}

// BenchmarkReadFeed reads pages of a feed of 2000 activities.
func BenchmarkReadFeed(b *testing.B) {
	s := apitest.Start(b)
	stars(b, s, 1)
	for range 2 {
		must(b, s, "POST", "/users/star1/activities?sync=true", "["+strings.TrimSuffix(strings.Repeat(benchActivity+",", 1000), ",")+"]")
	}
	for _, limit := range []int{10, 200} {
		for _, path := range []string{"/users/fan0/feed", "/users/star1/activities", "/activities"} {
			b.Run(fmt.Sprintf("%s/limit=%d", strings.ReplaceAll(path[1:], "/", "-"), limit), func(b *testing.B) {
				for b.Loop() {
					if a := must(b, s, "GET", fmt.Sprintf("%s?limit=%d", path, limit), ""); len(a.Entities()) != limit {
						b.Fatalf("%d entities", len(a.Entities()))
					}
				}
			})
		}
	}
}

// BenchmarkWriteBesideAFanOut is one client that writes entities, alone and while
// activities are on their way to 10,000 followers all the time.
func BenchmarkWriteBesideAFanOut(b *testing.B) {
	s := apitest.Start(b)
	stars(b, s, 10_000)
	for _, posts := range []bool{false, true} {
		b.Run(fmt.Sprintf("fan-out=%v", posts), func(b *testing.B) {
			end := make(chan struct{})
			var posting sync.WaitGroup
			if posts {
				posting.Go(func() {
					for {
						select {
						case <-end:
							return
						default:
							must(b, s, "POST", "/users/star10000/activities?sync=true", benchActivity)
						}
					}
				})
			}
			var took []time.Duration
			n := 0
			for b.Loop() {
				n++
				start := time.Now()
				must(b, s, "PUT", "/items/one", fmt.Sprintf(`{"n":%d}`, n))
				took = append(took, time.Since(start))
			}
			close(end)
			posting.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}
