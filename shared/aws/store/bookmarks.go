package store

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Bookmarks records the progress of scans that take many runs of a function.
type Bookmarks struct {
	Client *dynamodb.Client
	Table  string
}

// Get returns the keys after which scans continue, by the scan. It returns none if all scans
// start anew.
func (b Bookmarks) Get(ctx context.Context, name string) (map[string]string, error) {
	answer, err := b.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &b.Table, Key: claimKey(name), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("reading the bookmarks of %s: %w", name, err)
	}
	row, err := decodeRow[bookmarkRow](answer.Item)
	return row.After, err
}

// Set records the keys after which scans continue, by the scan. A scan that is not among them
// starts anew.
func (b Bookmarks) Set(ctx context.Context, name string, after map[string]string) error {
	item, err := encode(bookmarkRow{name, after})
	if err != nil {
		return err
	}
	if _, err := write(ctx, b.Client.PutItem, &dynamodb.PutItemInput{TableName: &b.Table, Item: item}); err != nil {
		return fmt.Errorf("setting the bookmarks of %s: %w", name, err)
	}
	return nil
}

// bookmarkRow is the row of a function's scans.
type bookmarkRow struct {
	Name  string            `json:"name"`
	After map[string]string `json:"after"`
}
