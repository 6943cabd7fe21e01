package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/trellisdb/trellis/api"
	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/tally"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/query"
)

// metrics renders what the node and the API count, for Prometheus.
type metrics struct{ registry *prometheus.Registry }

func newMetrics(n *node.Node, queries *query.Engine, stats func() api.Stats, requests func() tally.Stats, data func() assets.Stats, pushed func() push.Stats) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{node: n, queries: queries, stats: stats, requests: requests, data: data, pushed: pushed},
	)
	return m
}

// render returns all metrics in the text format.
func (m *metrics) render() (contentType string, body []byte) {
	families, err := m.registry.Gather()
	var out bytes.Buffer
	if err != nil {
		fmt.Fprintf(&out, "# %v\n", err)
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	encoder := expfmt.NewEncoder(&out, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			fmt.Fprintf(&out, "# %v\n", err)
		}
	}
	return string(format), out.Bytes()
}

// collector turns the figures of node and API into metrics at each scrape.
type collector struct {
	node     *node.Node
	queries  *query.Engine
	stats    func() api.Stats
	requests func() tally.Stats
	data     func() assets.Stats
	pushed   func() push.Stats
}

type description struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) description {
	return description{prometheus.NewDesc("trellis_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) description {
	return description{prometheus.NewDesc("trellis_"+name, help, labels, nil), prometheus.CounterValue}
}

// Describe implements prometheus.Collector: the metrics are made at each scrape.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	send := func(d description, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d.Desc, d.kind, value, labels...)
	}
	for _, p := range c.node.Partitions() {
		label := fmt.Sprint(p.Partition)
		send(gauge("partition_ready", "1 if the partition has a leader here and serves; 0 means its requests get 503.", "partition"), toFloat(p.Ready), label)
		send(gauge("partition_leader", "1 if this node leads the partition.", "partition"), toFloat(p.Role == "leader"), label)
		send(gauge("partition_term", "Term of the replica; a steady rise means elections that do not hold.", "partition"), float64(p.Term), label)
		send(gauge("partition_commit_index", "Last log entry known to be committed; the applied index follows it.", "partition"), float64(p.Commit), label)
		send(gauge("partition_fresh_ms", "Age of the last proof that the replica was up to date, -1: none yet; a rise means it is cut off or has no leader.", "partition"), float64(p.Fresh), label)
		send(gauge("partition_sending", "Followers that are being sent the whole state.", "partition"), float64(p.Sending), label)
		send(gauge("partition_applied_index", "Last log entry whose effect is in the state.", "partition"), float64(p.Applied), label)
		send(gauge("partition_marker_index", "Log entry up to which the state was last made durable; replay after a crash begins here.", "partition"), float64(p.Marker), label)
		send(gauge("queue_commands", "Writes waiting or under way; a rise means the disk or apply is slower than the clients.", "partition"), float64(p.Queued), label)
		send(counter("queue_accepted_total", "Writes taken into the queue.", "partition"), float64(p.Accepted), label)
		send(counter("queue_refused_total", "Writes refused with 503 because the queue was full.", "partition"), float64(p.Refused), label)
		send(counter("log_entries_total", "Entries proposed; accepted writes divided by it is how many share one sync.", "partition"), float64(p.Entries), label)
		send(counter("log_bytes_total", "Bytes appended to the log.", "partition"), float64(p.LogBytes), label)
	}
	s := c.node.Storage()
	send(gauge("disk_bytes", "Bytes of both databases on disk."), float64(s.DiskBytes))
	send(gauge("state_disk_bytes", "Bytes of the state database on disk."), float64(s.StateDiskBytes))
	send(gauge("cache_bytes", "Bytes in the block cache."), float64(s.CacheBytes))
	send(gauge("memtable_bytes", "Bytes of changes held in memory before they are flushed."), float64(s.MemtableBytes))
	send(counter("compactions_total", "Compactions of both databases."), float64(s.Compactions))
	send(gauge("l0_files", "Tables not yet compacted; a steady rise means compaction falls behind."), float64(s.L0Files))
	send(counter("cache_hits_total", "Blocks found in the cache."), float64(s.CacheHits))
	send(counter("cache_misses_total", "Blocks that were not; a rise beside steady reads means the cache is too small."), float64(s.CacheMisses))
	send(gauge("read_amplification", "Tables a read of the state may have to look into; a rise means compaction falls behind."), float64(s.ReadAmp))
	send(counter("compacted_bytes_total", "Bytes written by flushes and compactions of the state database."), float64(s.WrittenBytes))
	r := c.requests()
	send(gauge("request_counts_waiting", "Applications whose requests were counted and not written yet; a lasting rise means they cannot be written."), float64(r.Applications))
	send(counter("request_counts_written_total", "Writes of counted requests, each of all that an application has served in some seconds."), float64(r.Written))
	send(counter("request_counts_failed_total", "Tries of such writes that were or will be repeated; a rise means a partition has no leader."), float64(r.Failed))
	send(counter("request_counts_refused_total", "Such writes that were refused because their application is gone."), float64(r.Refused))
	d := c.data()
	send(gauge("uploads_spooled_bytes", "Bytes of uploads that are arriving or waiting to be stored; near --uploads-mb, further ones get 503."), float64(d.Spooled))
	send(gauge("uploads_storing", "Uploads being stored; a lasting 4 means that others wait."), float64(d.StoreTurns))
	send(counter("uploads_stored_total", "Uploads that were stored."), float64(d.Stored))
	send(counter("uploads_bytes_total", "Bytes of uploads that were stored."), float64(d.In))
	send(counter("downloads_total", "Downloads that were begun."), float64(d.Served))
	send(counter("downloads_bytes_total", "Bytes of data read for downloads."), float64(d.Out))
	send(counter("downloads_failed_total", "Downloads whose data could not be read to the end: it was replaced or deleted meanwhile, or its store does not answer."), float64(d.CutOff))
	t := c.node.Traffic()
	send(counter("forwarded_writes_total", "Writes sent to the node that leads their partition."), float64(t.Forwarded))
	send(counter("retried_writes_total", "Tries of writes after the first; a rise means leaders change or do not answer."), float64(t.Retried))
	send(counter("read_index_questions_total", "Rounds in which a leader elsewhere was asked for a read index; many reads share one."), float64(t.Asked))
	send(counter("read_index_confirmations_total", "Rounds in which a majority was asked for its term; many reads share one."), float64(t.Confirmed))
	send(gauge("gossip_alive_nodes", "Nodes that gossip hears of, this one included; 0 on a node alone."), float64(t.Alive))
	send(counter("gossip_ignored_total", "Gossip that was not understood or came from another cluster."), float64(t.Ignored))
	send(counter("peer_connections_accepted_total", "Connections of other nodes that were let in."), float64(t.Port.Accepted))
	send(counter("peer_connections_dialled_total", "Connections made to other nodes; a steady rise means they do not last."), float64(t.Port.Dialled))
	for reason, n := range t.Port.Refused {
		send(counter("peer_connections_refused_total", "Connections that were turned away; wrong_secret and tls are strangers, or nodes with a wrong configuration.", "reason"), float64(n), string(reason))
	}
	for _, t := range c.node.TaskStats() {
		send(gauge("tasks_queued", "Background tasks recorded in the partitions this node leads, those not yet due included; a steady rise means they are recorded faster than run.", "kind"), float64(t.Queued), t.Kind)
		send(gauge("tasks_dead", "Background tasks that were given up and wait for a retry; look at GET /system/tasks.", "kind"), float64(t.Dead), t.Kind)
		send(gauge("tasks_running", "Steps of background tasks under way.", "kind"), float64(t.Running), t.Kind)
		send(counter("tasks_steps_total", "Steps of background tasks that were done.", "kind"), float64(t.Steps), t.Kind)
		send(counter("tasks_finished_total", "Background tasks that were done.", "kind"), float64(t.Finished), t.Kind)
		send(counter("tasks_failures_total", "Steps of background tasks that failed; each is tried again later, the log says why it failed.", "kind"), float64(t.Failures), t.Kind)
	}
	c.push(send)
	q := c.queries.Stats()
	send(counter("queries_total", "Listings and queries run."), float64(q.Queries))
	send(counter("query_rows_total", "Entities they returned."), float64(q.Rows))
	send(counter("query_keys_examined_total", "Keys they looked at; a rise against the entities returned means that queries lack an index, explain=true shows which."), float64(q.Examined))
	send(counter("queries_refused_total", "Queries refused because they would have looked at too many keys."), float64(q.Refused))
	a := c.stats()
	send(gauge("http_connections", "Open connections of the API."), float64(a.Connections))
	send(gauge("http_body_bytes", "Memory held for request bodies."), float64(a.BodyBytes))
	send(counter("http_panics_total", "Requests that ended in a panic; every one is a defect."), float64(a.Panics))
	for class, n := range a.Replies {
		if class > 0 {
			send(counter("http_replies_total", "Replies by class of their status.", "class"), float64(n), fmt.Sprintf("%dxx", class))
		}
	}
}

func toFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// push sends what is counted of notifications.
func (c *collector) push(send func(d description, value float64, labels ...string)) {
	s := c.pushed()
	send(gauge("push_open", "Deliveries of notifications that are not over, in the partitions this node leads, those waiting for another attempt included; a steady rise means that services take them slower than they come."), float64(s.Open))
	age := 0.0
	if s.Oldest != 0 {
		age = max(0, time.Since(time.UnixMilli(s.Oldest)).Seconds())
	}
	send(gauge("push_oldest_seconds", "How long the first of them has been due; a rise means that a service hangs or its notifier is paused."), age)
	send(gauge("push_notifiers", "Notifiers that this node sends or has lately sent through."), float64(s.Pools))
	send(gauge("push_busy", "Deliveries in memory: taken, and what became of them not written yet."), float64(s.Busy))
	send(gauge("push_in_flight", "Messages that take a place of those that all notifiers share; at push-in-flight they wait for one another."), float64(s.InFlight))
	for _, p := range s.Providers {
		send(counter("push_sent_total", "Messages that services have taken.", "provider"), float64(p.Sent), p.Provider)
		send(counter("push_retries_total", "Attempts after which a delivery waits for another; a rise means that a service is in trouble or finds us too fast.", "provider"), float64(p.Retries), p.Provider)
		for code, n := range p.Failed {
			send(counter("push_failed_total", "Deliveries that have failed for good, by the code of their receipts.", "provider", "code"), float64(n), p.Provider, code)
		}
	}
}
