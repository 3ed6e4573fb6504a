package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cloudformationtypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// undeploy deletes a stack. The service maps queues at run time, so CloudFormation does not
// know these mappings, and Lambda keeps those of a function that is deleted.
type undeploy struct {
	stack          string
	cloudFormation *cloudformation.Client
	functions      *lambda.Client
	tables         *dynamodb.Client
	// confirm reports whether the operator wants the deletion.
	confirm func() bool
	// deleteStack deletes the stack and waits until it is deleted.
	deleteStack func(context.Context) error
	out         io.Writer
	// pause is the time between two looks at mappings that are being deleted.
	pause time.Duration
}

// reconciler is the logical ID of the function that creates mappings.
const reconciler = "ReconcileFunction"

func (u undeploy) run(ctx context.Context) error {
	resources, err := u.resources(ctx)
	if err != nil {
		return err
	}
	if !u.confirm() {
		return errors.New("nothing is deleted")
	}
	if function, ok := resources[reconciler]; ok {
		// A function without concurrency does not run, so no mapping is created again.
		_, err := u.functions.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{
			FunctionName: function.PhysicalResourceId, ReservedConcurrentExecutions: aws.Int32(0),
		})
		if err != nil {
			return fmt.Errorf("stopping %s: %w", *function.PhysicalResourceId, err)
		}
	}
	if err := u.deleteMappings(ctx, resources); err != nil {
		return err
	}
	if err := u.deleteStack(ctx); err != nil {
		return fmt.Errorf("deleting the stack %s: %w", u.stack, err)
	}
	// A run of reconcile that was already under way may have created a mapping.
	if err := u.deleteMappings(ctx, resources); err != nil {
		return err
	}
	return u.tellRetained(ctx, resources)
}

// resources returns the stack's resources by their logical IDs.
func (u undeploy) resources(ctx context.Context) (map[string]cloudformationtypes.StackResourceSummary, error) {
	all := map[string]cloudformationtypes.StackResourceSummary{}
	pages := cloudformation.NewListStackResourcesPaginator(u.cloudFormation, &cloudformation.ListStackResourcesInput{StackName: &u.stack})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the resources of the stack %s: %w", u.stack, err)
		}
		for _, resource := range page.StackResourceSummaries {
			// A stack that could not be created has resources that were never there or were
			// deleted again.
			if resource.PhysicalResourceId != nil && resource.ResourceStatus != cloudformationtypes.ResourceStatusDeleteComplete {
				all[aws.ToString(resource.LogicalResourceId)] = resource
			}
		}
	}
	return all, nil
}

// deleteMappings deletes the mappings of the stack's functions that are no resources of the
// stack, and returns when they are gone.
func (u undeploy) deleteMappings(ctx context.Context, resources map[string]cloudformationtypes.StackResourceSummary) error {
	functions, own := map[string]bool{}, map[string]bool{}
	for _, resource := range resources {
		switch aws.ToString(resource.ResourceType) {
		case "AWS::Lambda::Function":
			functions[*resource.PhysicalResourceId] = true
		case "AWS::Lambda::EventSourceMapping":
			own[*resource.PhysicalResourceId] = true
		}
	}
	for told := map[string]bool{}; ; {
		left := 0
		for pages := lambda.NewListEventSourceMappingsPaginator(u.functions, &lambda.ListEventSourceMappingsInput{}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return fmt.Errorf("listing the event source mappings: %w", err)
			}
			for _, mapping := range page.EventSourceMappings {
				function := aws.ToString(mapping.FunctionArn)
				if !functions[function[strings.LastIndex(function, ":")+1:]] || own[aws.ToString(mapping.UUID)] {
					continue
				}
				left++
				if err := u.deleteMapping(ctx, mapping); err != nil {
					return err
				}
				if !told[*mapping.UUID] {
					told[*mapping.UUID] = true
					fmt.Fprintf(u.out, "deleting the event source mapping of %s\n", aws.ToString(mapping.EventSourceArn))
				}
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(u.pause):
		}
	}
}

// deleteMapping begins the deletion of a mapping, which Lambda may take a minute for. It
// does nothing if the mapping is changing, because then the next look comes to it again.
func (u undeploy) deleteMapping(ctx context.Context, mapping lambdatypes.EventSourceMappingConfiguration) error {
	if aws.ToString(mapping.State) == "Deleting" {
		return nil
	}
	_, err := u.functions.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: mapping.UUID})
	if _, changing := errors.AsType[*lambdatypes.ResourceInUseException](err); changing {
		return nil
	}
	if _, gone := errors.AsType[*lambdatypes.ResourceNotFoundException](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting the event source mapping of %s: %w", aws.ToString(mapping.EventSourceArn), err)
	}
	return nil
}

// tellRetained prints the tables and keys that are left, with the commands that delete them.
func (u undeploy) tellRetained(ctx context.Context, resources map[string]cloudformationtypes.StackResourceSummary) error {
	fmt.Fprintf(u.out, "\nThe stack %s is deleted. These tables and keys are retained, with their data:\n\n", u.stack)
	for _, resource := range resources {
		id := *resource.PhysicalResourceId
		switch aws.ToString(resource.ResourceType) {
		case "AWS::DynamoDB::Table":
			described, err := u.tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &id})
			if _, gone := errors.AsType[*dynamodbtypes.ResourceNotFoundException](err); gone {
				continue
			}
			if err != nil {
				return fmt.Errorf("describing the table %s: %w", id, err)
			}
			if aws.ToBool(described.Table.DeletionProtectionEnabled) {
				fmt.Fprintf(u.out, "aws dynamodb update-table --table-name %s --no-deletion-protection-enabled\n", id)
			}
			fmt.Fprintf(u.out, "aws dynamodb delete-table --table-name %s\n", id)
		case "AWS::KMS::Key":
			fmt.Fprintf(u.out, "aws kms schedule-key-deletion --key-id %s   # no secret in the tables can be read without it\n", id)
		}
	}
	fmt.Fprint(u.out, "\nRun these lines to delete them. To use the tables with another stack, see infra/RUNBOOK.md.\n")
	return nil
}
