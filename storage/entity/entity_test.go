package entity_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
)

// TestRecordRoundTrip: decode undoes append for every entity.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := entity.Entity{
			Created: rapid.Int64().Draw(t, "created"), Modified: rapid.Int64().Draw(t, "modified"),
			Seq: entity.Seq(rapid.Uint64().Draw(t, "seq")), Rev: entity.Seq(rapid.Uint64().Draw(t, "rev")),
			HasOut: rapid.Bool().Draw(t, "out"), HasIn: rapid.Bool().Draw(t, "in"), Generation: rapid.Uint32().Draw(t, "generation"),
			JSON: rapid.SliceOf(rapid.Byte()).Draw(t, "json"),
		}
		copy(want.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		if rapid.Bool().Draw(t, "has blob") {
			copy(want.Blob[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "blob"))
		}
		got, err := entity.DecodeRecord(entity.AppendRecord(nil, &want))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.JSON, want.JSON) {
			t.Errorf("JSON %x, want %x", got.JSON, want.JSON)
		}
		got.JSON, want.JSON = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzRecords: decoders of stored records never panic, and what they accept
// survives another round.
func FuzzRecords(f *testing.F) {
	f.Add(entity.AppendRecord(nil, &entity.Entity{Seq: 1, Rev: 2, Created: 5, Modified: 6, JSON: []byte("{}")}))
	f.Add(entity.AppendRecord(nil, &entity.Entity{Seq: 1, Rev: 2, Blob: entity.ID{1}, JSON: []byte("{}")}))
	f.Add(entity.AppendBlob(nil, &entity.Blob{State: entity.BlobAttached, Size: 1 << 30, Chunk: 1 << 19, Written: 2048, Owner: entity.End{Collection: 3, Seq: 9}}))
	f.Add(entity.AppendBlob(nil, &entity.Blob{State: entity.BlobDoomed, Size: 5, Object: "a/b"}))
	f.Add(entity.AppendToken(nil, &entity.Token{Kind: entity.PrincipalAdmin, Created: 1, Expires: 2}))
	f.Add(entity.AppendCredential(nil, &entity.Credential{Changed: 1, Value: []byte("x")}))
	f.Add(entity.AppendCluster(nil, &entity.Cluster{Partitions: 8, Created: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := entity.DecodeRecord(b); err == nil {
			again, err := entity.DecodeRecord(entity.AppendRecord(nil, &e))
			if diff := cmp.Diff(e, again); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		if blob, err := entity.DecodeBlob(b); err == nil {
			if again, err := entity.DecodeBlob(entity.AppendBlob(nil, &blob)); err != nil || again != blob {
				t.Errorf("%+v became %+v, %v", blob, again, err)
			}
			if n := blob.Chunks(); n > 0 && (n-1)*blob.Chunk+blob.ChunkSize(n-1) != blob.Size {
				t.Errorf("%d chunks of %+v do not hold it", n, blob)
			}
		}
		if tok, err := entity.DecodeToken(b); err == nil {
			if again, err := entity.DecodeToken(entity.AppendToken(nil, &tok)); err != nil || again != tok {
				t.Errorf("%+v became %+v, %v", tok, again, err)
			}
		}
		if c, err := entity.DecodeCredential(b); err == nil {
			again, err := entity.DecodeCredential(entity.AppendCredential(nil, &c))
			if diff := cmp.Diff(c, again); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		if c, err := entity.DecodeCluster(b); err == nil {
			if again, err := entity.DecodeCluster(entity.AppendCluster(nil, &c)); err != nil || again != c {
				t.Errorf("%+v became %+v, %v", c, again, err)
			}
		}
	})
}

// TestMarkRecordChangesOneFlag, and nothing else of a record.
func TestMarkRecordChangesOneFlag(t *testing.T) {
	e := entity.Entity{ID: entity.ID{1}, Created: 5, Modified: 7, Seq: 3, Rev: 9, JSON: []byte(`{"a":1}`)}
	record := entity.AppendRecord(nil, &e)
	for _, step := range []struct{ out, has, news bool }{
		{true, false, false}, {true, true, true}, {true, true, false}, {false, true, true}, {true, false, true}, {false, false, true},
	} {
		if news := entity.MarkRecord(record, step.out, step.has); news != step.news {
			t.Errorf("%+v: news is %v", step, news)
		}
		if step.out {
			e.HasOut = step.has
		} else {
			e.HasIn = step.has
		}
		if want := entity.AppendRecord(nil, &e); !bytes.Equal(record, want) {
			t.Errorf("%+v: %x, want %x", step, record, want)
		}
	}
	if entity.MarkRecord([]byte{1}, true, true) {
		t.Error("what is no record is marked")
	}
}

// TestRecordsOfVersion1AreRead: they name no generation of their index entries.
func TestRecordsOfVersion1AreRead(t *testing.T) {
	want := entity.Entity{ID: entity.ID{15: 9}, Created: -5, Modified: 6, Seq: 3, Rev: 300, HasIn: true, JSON: []byte(`{"a":1}`)}
	old := []byte{1, 2, 15: 0, 17: 9}
	old = binary.AppendVarint(binary.AppendVarint(old, -5), 11)
	old = binary.AppendUvarint(binary.AppendUvarint(old, 3), 297)
	old = append(binary.AppendUvarint(old, 7), want.JSON...)
	got, err := entity.DecodeRecord(old)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, -want +got\n%s", err, d)
	}
	old[0] = 3
	if _, err := entity.DecodeRecord(old); err == nil {
		t.Error("a record of version 3 is read")
	}
}
