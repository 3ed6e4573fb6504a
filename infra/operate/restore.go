package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"golang.org/x/sync/errgroup"

	"containertriggers/shared/aws/store"
)

// restore puts the rows of one table into another one of the same form. DynamoDB restores
// only into a new table, and a stack uses only its own tables: so the rows come back to
// them, through the stream that reconcile reads.
//
// It can run again: rows that are there stay as they are.
type restore struct {
	from, to string
	tables   *dynamodb.Client
	keys     *kms.Client
	// key encrypts the secrets of the rows. "" leaves the secrets as they are.
	key string
	// resource is the name of a row's resource in the encryption context of its secrets.
	resource string
	out      io.Writer
}

// atOnce is how many rows are put back at the same time.
const atOnce = 16

func (r restore) run(ctx context.Context) error {
	described, err := r.tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &r.to})
	if err != nil {
		return fmt.Errorf("describing the table %s: %w", r.to, err)
	}
	key := aws.ToString(described.Table.KeySchema[0].AttributeName)
	there, back := 0, 0
	pages := dynamodb.NewScanPaginator(r.tables, &dynamodb.ScanInput{TableName: &r.from, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("reading the table %s: %w", r.from, err)
		}
		rows, ctx := errgroup.WithContext(ctx)
		rows.SetLimit(atOnce)
		done := make([]bool, len(page.Items))
		for i, row := range page.Items {
			rows.Go(func() (err error) {
				done[i], err = r.put(ctx, key, row)
				return err
			})
		}
		if err := rows.Wait(); err != nil {
			return err
		}
		for _, done := range done {
			if done {
				back++
			} else {
				there++
			}
		}
	}
	fmt.Fprintf(r.out, "%s: %d rows are back, %d were there\n", r.to, back, there)
	return nil
}

// put puts a row back, and returns false if there is one with its key.
func (r restore) put(ctx context.Context, key string, row map[string]types.AttributeValue) (bool, error) {
	row = maps.Clone(row)
	id, _ := row[key].(*types.AttributeValueMemberS)
	if r.key != "" {
		for name, value := range row {
			encrypted, err := r.encrypt(ctx, id.Value, value)
			if err != nil {
				return false, fmt.Errorf("encrypting the secrets of %s %s: %w", r.resource, id.Value, err)
			}
			row[name] = encrypted
		}
	}
	_, err := r.tables.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &r.to, Item: row,
		ConditionExpression: aws.String("attribute_not_exists(#key)"), ExpressionAttributeNames: map[string]string{"#key": key},
	})
	if _, there := errors.AsType[*types.ConditionalCheckFailedException](err); there {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("putting a row into the table %s: %w", r.to, err)
	}
	if _, isTrigger := row["observed_generation"]; isTrigger {
		// The source may be gone or changed since. reconcile makes it match the row.
		return true, store.Triggers{Client: r.tables, Table: r.to}.Requeue(ctx, id.Value, time.Now())
	}
	return true, nil
}

// encrypt returns an attribute with its secrets encrypted by the key. Secrets are the only
// binary values of a row.
func (r restore) encrypt(ctx context.Context, id string, value types.AttributeValue) (types.AttributeValue, error) {
	switch value := value.(type) {
	case *types.AttributeValueMemberB:
		encryptionContext := map[string]string{r.resource + "_id": id}
		answer, err := r.keys.ReEncrypt(ctx, &kms.ReEncryptInput{
			CiphertextBlob: value.Value, SourceEncryptionContext: encryptionContext,
			DestinationKeyId: &r.key, DestinationEncryptionContext: encryptionContext,
		})
		if err != nil {
			return nil, err
		}
		return &types.AttributeValueMemberB{Value: answer.CiphertextBlob}, nil
	case *types.AttributeValueMemberM:
		encrypted := make(map[string]types.AttributeValue, len(value.Value))
		for name, element := range value.Value {
			var err error
			if encrypted[name], err = r.encrypt(ctx, id, element); err != nil {
				return nil, err
			}
		}
		return &types.AttributeValueMemberM{Value: encrypted}, nil
	}
	return value, nil
}
