package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/listing"
)

// Snapshots is the table of the results of large lists, so that a client that asks for one page
// after another does not make each page read the whole index. A snapshot serves all callers who
// ask for the same and may read the same. The zero value keeps none.
type Snapshots struct {
	Client *dynamodb.Client
	Table  string
}

const (
	// snapshotLifetime is how long a snapshot serves pages. In that time the stock client asks
	// for some thousand pages.
	snapshotLifetime = time.Minute
	// partSize is the number of IDs in a row. They are 16 KB, which a page reads with 2 units.
	partSize = 1000
	// maxWrites is the number of rows of a snapshot that are written at the same time.
	maxWrites = 8
)

// snapshotRow is the row that names the current snapshot of a list.
type snapshotRow struct {
	Name    string         `json:"name"`
	TakenAt timestamp.Time `json:"taken_at"`
	Total   int            `json:"total"`
	// Parts is the beginning of the names of the rows with the IDs.
	Parts     string `json:"parts"`
	ExpiresAt int64  `json:"expires_at"`
}

// partRow has the IDs of a part of a list, one after another.
type partRow struct {
	Name      string `json:"name"`
	IDs       []byte `json:"ids"`
	ExpiresAt int64  `json:"expires_at"`
}

// snapshotName returns the key of a list: all of its query but the page.
func snapshotName(resource string, q listing.Query) (string, error) {
	q.Page, q.PageSize = 0, 0
	text, err := json.Marshal(q)
	if err != nil {
		return "", fmt.Errorf("encoding a query: %w", err)
	}
	sum := sha256.Sum256(append([]byte(resource), text...))
	return hex.EncodeToString(sum[:]), nil
}

func partName(parts string, number int) string { return parts + "/" + strconv.Itoa(number) }

func snapshotKey(name string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"name": &types.AttributeValueMemberS{Value: name}}
}

// page returns the IDs of a page and the number of IDs on all pages. It returns false if there
// is no snapshot, or if it cannot be read, because the index has the same.
func (s Snapshots) page(ctx context.Context, resource string, q listing.Query) (ids []string, total int, ok bool) {
	ids, total, ok, err := s.read(ctx, resource, q)
	if err != nil {
		slog.WarnContext(ctx, "a list reads its index again", "error", err)
	}
	return ids, total, ok && err == nil
}

func (s Snapshots) read(ctx context.Context, resource string, q listing.Query) (ids []string, total int, ok bool, err error) {
	current, ok, err := s.current(ctx, resource, q)
	if err != nil || !ok {
		return nil, 0, false, err
	}
	from := min((q.Page-1)*q.PageSize, current.Total)
	to := min(from+q.PageSize, current.Total)
	for at := from; at < to; {
		part, err := s.part(ctx, partName(current.Parts, at/partSize))
		if err != nil || len(part.IDs) == 0 {
			return nil, 0, false, err // DynamoDB has deleted it
		}
		for ; at < to && at%partSize < len(part.IDs)/len(uuid.UUID{}); at++ {
			id, err := uuid.FromBytes(part.IDs[at%partSize*len(uuid.UUID{}):][:len(uuid.UUID{})])
			if err != nil {
				return nil, 0, false, fmt.Errorf("reading a snapshot: %w", err)
			}
			ids = append(ids, id.String())
		}
	}
	return ids, current.Total, true, nil
}

// current returns the row of a list's snapshot, and false if there is none, or an old one.
func (s Snapshots) current(ctx context.Context, resource string, q listing.Query) (row snapshotRow, ok bool, err error) {
	if s.Table == "" {
		return row, false, nil
	}
	name, err := snapshotName(resource, q)
	if err != nil {
		return row, false, err
	}
	answer, err := s.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.Table, Key: snapshotKey(name), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return row, false, fmt.Errorf("reading a snapshot: %w", err)
	}
	row, err = decodeRow[snapshotRow](answer.Item)
	return row, answer.Item != nil && time.Since(time.Time(row.TakenAt)) < snapshotLifetime, err
}

func (s Snapshots) part(ctx context.Context, name string) (partRow, error) {
	answer, err := s.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.Table, Key: snapshotKey(name), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return partRow{}, fmt.Errorf("reading a part of a snapshot: %w", err)
	}
	return decodeRow[partRow](answer.Item)
}

// store stores the IDs of all pages, unless there is a snapshot already.
func (s Snapshots) store(ctx context.Context, resource string, q listing.Query, ids []string) error {
	_, ok, err := s.current(ctx, resource, q)
	if err != nil || ok || s.Table == "" {
		return err
	}
	name, err := snapshotName(resource, q)
	if err != nil {
		return err
	}
	now := time.Now()
	parts, expires := uuid.NewString(), now.Add(2*snapshotLifetime).Unix()
	writes, writing := errgroup.WithContext(ctx)
	writes.SetLimit(maxWrites)
	for from := 0; from < len(ids); from += partSize {
		writes.Go(func() error {
			part := partRow{Name: partName(parts, from/partSize), ExpiresAt: expires}
			for _, id := range ids[from:min(from+partSize, len(ids))] {
				parsed, err := uuid.Parse(id)
				if err != nil {
					return fmt.Errorf("encoding a snapshot: %w", err)
				}
				part.IDs = append(part.IDs, parsed[:]...)
			}
			return s.put(writing, part)
		})
	}
	if err := writes.Wait(); err != nil {
		return err
	}
	return s.put(ctx, snapshotRow{Name: name, TakenAt: timestamp.Time(now), Total: len(ids), Parts: parts, ExpiresAt: expires})
}

func (s Snapshots) put(ctx context.Context, row any) error {
	item, err := encode(row)
	if err != nil {
		return err
	}
	_, err = write(ctx, s.Client.PutItem, &dynamodb.PutItemInput{TableName: &s.Table, Item: item})
	return wrap(err, "storing a snapshot")
}
