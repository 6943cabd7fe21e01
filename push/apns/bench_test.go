package apns_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/entity"
)

// BenchmarkSend sends through APNs on this machine, with so many messages under way.
func BenchmarkSend(b *testing.B) {
	for _, concurrent := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("concurrent=%d", concurrent), func(b *testing.B) {
			r := newRig(b, nil)
			s, p := r.open(b, r.body()), r.payload(b, `{"aps":{"alert":"Order shipped","sound":"chime","badge":1}}`)
			s.Send(b.Context(), provider.Message{Token: token(0), Payload: p})
			b.ResetTimer()
			start := time.Now()
			var next, failed atomic.Int64
			var all sync.WaitGroup
			for range concurrent {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if got := s.Send(b.Context(), provider.Message{ID: entity.NewID(), Token: token(int(i)), Payload: p}); got.Outcome != provider.Sent {
							if failed.Add(1) == 1 {
								b.Errorf("after %s a message is %+v", time.Since(start), got)
							}
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "sends/s")
			if n := failed.Load(); n > 0 {
				b.Fatalf("%d messages were not sent", n)
			}
		})
	}
}
