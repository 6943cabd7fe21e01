// Package report is what a run of the harness leaves behind: one row for each
// workload and number of connections, with its share of what the machine
// allows, as JSON for programs and as Markdown for people.
package report
