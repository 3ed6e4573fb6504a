package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"containertriggers/shared/contract/timestamp"
	"containertriggers/shared/domain/auth"
)

// Keys is the table of API keys. A row's key is the hash of the API key's secret.
type Keys struct {
	Client *dynamodb.Client
	Table  string
}

func keyOfHash(hash string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"secret_hash": &types.AttributeValueMemberS{Value: hash}}
}

// Key returns the API key by the hash of its secret, or auth.ErrUnknownKey if there is no
// such key.
func (k Keys) Key(ctx context.Context, hash string) (auth.Key, error) {
	answer, err := k.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &k.Table, Key: keyOfHash(hash), ConsistentRead: aws.Bool(true), // a revoked key must not be found
	})
	if err != nil {
		return auth.Key{}, fmt.Errorf("reading a key: %w", err)
	}
	if answer.Item == nil {
		return auth.Key{}, auth.ErrUnknownKey
	}
	var row keyRow
	err = decode(answer.Item, &row)
	return row.key(), err
}

// Create adds an API key. It fails if the table has the key's hash already.
func (k Keys) Create(ctx context.Context, key auth.Key) error {
	item, err := encode(newKeyRow(key))
	if err != nil {
		return err
	}
	_, err = write(ctx, k.Client.PutItem, &dynamodb.PutItemInput{
		TableName: &k.Table, Item: item, ConditionExpression: aws.String("attribute_not_exists(secret_hash)"),
	})
	if err != nil {
		return fmt.Errorf("creating key %s: %w", key.AccessKey, err)
	}
	return nil
}

// All returns every key. It scans the table, so only the operator's tool uses it.
func (k Keys) All(ctx context.Context) ([]auth.Key, error) {
	var keys []auth.Key
	pages := dynamodb.NewScanPaginator(k.Client, &dynamodb.ScanInput{TableName: &k.Table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing keys: %w", err)
		}
		for _, item := range page.Items {
			var row keyRow
			if err := decode(item, &row); err != nil {
				return nil, err
			}
			keys = append(keys, row.key())
		}
	}
	return keys, nil
}

// Revoke deletes the API key by the hash of its secret. It returns auth.ErrUnknownKey if
// there is no such key.
func (k Keys) Revoke(ctx context.Context, hash string) error {
	_, err := write(ctx, k.Client.DeleteItem, &dynamodb.DeleteItemInput{
		TableName: &k.Table, Key: keyOfHash(hash), ConditionExpression: aws.String("attribute_exists(secret_hash)"),
	})
	if _, gone := errors.AsType[*types.ConditionalCheckFailedException](err); gone {
		return auth.ErrUnknownKey
	}
	if err != nil {
		return fmt.Errorf("revoking a key: %w", err)
	}
	return nil
}

// keyRow is an API key as the table stores it.
type keyRow struct {
	SecretHash       string             `json:"secret_hash"`
	AccessKey        string             `json:"access_key"`
	Description      string             `json:"description"`
	OrganizationID   string             `json:"organization_id"`
	ProjectIDs       []string           `json:"project_ids,omitempty"`
	DefaultProjectID string             `json:"default_project_id"`
	PermissionSet    auth.PermissionSet `json:"permission_set"`
	CreatedAt        timestamp.Time     `json:"created_at"`
	ExpiresAt        *timestamp.Time    `json:"expires_at,omitempty"`
}

func newKeyRow(k auth.Key) keyRow {
	row := keyRow{
		SecretHash: k.SecretHash, AccessKey: k.AccessKey, Description: k.Description,
		OrganizationID: k.OrganizationID, ProjectIDs: k.ProjectIDs, DefaultProjectID: k.DefaultProjectID,
		PermissionSet: k.PermissionSet, CreatedAt: timestamp.Time(k.CreatedAt),
	}
	if !k.ExpiresAt.IsZero() {
		row.ExpiresAt = (*timestamp.Time)(&k.ExpiresAt)
	}
	return row
}

func (r keyRow) key() auth.Key {
	k := auth.Key{
		SecretHash: r.SecretHash, Description: r.Description,
		Principal: auth.Principal{
			AccessKey: r.AccessKey, OrganizationID: r.OrganizationID, ProjectIDs: r.ProjectIDs,
			DefaultProjectID: r.DefaultProjectID, PermissionSet: r.PermissionSet,
		},
		CreatedAt: time.Time(r.CreatedAt),
	}
	if r.ExpiresAt != nil {
		k.ExpiresAt = time.Time(*r.ExpiresAt)
	}
	return k
}
