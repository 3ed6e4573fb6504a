package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/cloud"
)

// ownQueue is a queue of the cloud's account, for which Lambda has an event source mapping.
type ownQueue struct {
	arn string
	// config is the sqs_config of a trigger.
	config map[string]any
}

// createQueue creates a queue, and a user whose key shows that a trigger may use it.
func createQueue(ctx context.Context, c *cloud.Cloud) (q ownQueue, err error) {
	name := "bench-" + uuid.NewString()
	q.arn = "arn:aws:sqs:us-east-1:" + c.Account() + ":" + name
	created, err := sqs.NewFromConfig(c.AWSConfig()).CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: &name, Attributes: map[string]string{"VisibilityTimeout": "180"},
	})
	if err != nil {
		return q, err
	}
	users := iam.NewFromConfig(c.AWSConfig())
	if _, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}); err != nil {
		return q, err
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sqs:GetQueueAttributes","sqs:DeleteMessage"],"Resource":%q}]}`, q.arn)
	if _, err := users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("use"), PolicyDocument: &policy}); err != nil {
		return q, err
	}
	key, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		return q, err
	}
	q.config = map[string]any{
		"endpoint": c.AWSEndpoint(), "queue_url": *created.QueueUrl,
		"access_key_id": *key.AccessKey.AccessKeyId, "secret_access_key": *key.AccessKey.SecretAccessKey,
	}
	return q, nil
}
