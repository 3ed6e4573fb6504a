"""Deploys a SAM template on an AWS emulator, as `sam deploy` does on AWS.

Usage: deploy.py TEMPLATE STACK PARAMETERS, the last being a JSON object. The AWS
endpoint, region and credentials come from the environment. Writes to standard
output, as JSON, what the emulator does not know of: the HTTP API's routes and
throttle, and which function is which and may do what.

What moto's CloudFormation leaves out is taken from the template first: API
Gateway (the local cloud serves the API), alarms, and Scheduler groups and the
functions' asynchronous invoke configurations, which are made here.
The functions' code is an object whose content does not matter: the local cloud
runs the binaries themselves.
"""

import ast
import io
import json
import os
import re
import sys
import zipfile

import boto3
from botocore.exceptions import ClientError
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

BUCKET, KEY = "local-code", "code.zip"
NOT_DEPLOYED = (
    "AWS::ApiGatewayV2::", "AWS::CloudWatch::Alarm", "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission", "AWS::Scheduler::",
)


class NoManagedPolicies:
    def load(self):
        return {}


def translate(path, parameters):
    with open(path) as file:
        template = yaml_parse(file.read())
    template.setdefault("Globals", {}).setdefault("Function", {}).pop("CodeUri", None)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{BUCKET}/{KEY}"
    try:
        return transform(template, dict(parameters), NoManagedPolicies())
    except InvalidDocumentException as invalid:
        sys.exit("the template is invalid: " + "; ".join(cause.message for cause in invalid.causes))


def routes(resources):
    """The routes of every HTTP API, as (method, path, function)."""
    for resource in resources.values():
        if resource["Type"] != "AWS::ApiGatewayV2::Api":
            continue
        for path, methods in resource["Properties"]["Body"]["paths"].items():
            for method, operation in methods.items():
                uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
                function = re.search(r"functions/\$\{(\w+)\.Arn\}", uri)[1]
                yield {"method": method.upper(), "path": path, "function": function}


def throttle(template, parameters):
    """How many requests the HTTP API's default stage takes: a second, and at once."""
    def number(value):
        if isinstance(value, dict):
            name = value["Ref"]
            return float(parameters.get(name, template["Parameters"][name].get("Default")))
        return float(value)

    for resource in template["Resources"].values():
        settings = resource.get("Properties", {}).get("DefaultRouteSettings")
        if resource["Type"] == "AWS::ApiGatewayV2::Stage" and settings:
            return {"rate": number(settings["ThrottlingRateLimit"]), "burst": int(number(settings["ThrottlingBurstLimit"]))}
    return {}


def without(template, stack):
    """Takes out what is not deployed, and answers the Scheduler groups' names."""
    resources = template["Resources"]
    groups = {}
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::Scheduler::ScheduleGroup":
            value = resource["Properties"].get("Name", f"{stack}-{name}")
            groups[name] = (value["Fn::Sub"] if isinstance(value, dict) else value).replace("${AWS::StackName}", stack)
        if resource["Type"].startswith(NOT_DEPLOYED):
            del resources[name]
    template["Outputs"] = {
        name: output for name, output in template.get("Outputs", {}).items()
        if not any(part in json.dumps(output) for part in ("Api.ApiEndpoint", '"Api"'))
    }

    def resolve(node):
        if isinstance(node, dict):
            if node.keys() == {"Ref"} and node["Ref"] in groups:
                return groups[node["Ref"]]
            return {key: resolve(value) for key, value in node.items()}
        if isinstance(node, list):
            return [resolve(value) for value in node]
        if isinstance(node, str):
            return re.sub(r"\$\{(\w+)\}", lambda match: groups.get(match[1], match[0]), node)
        return node

    template["Resources"] = resolve(resources)
    return list(groups.values())


def invoke_configs(resources):
    """The asynchronous invoke configurations, as the Lambda API takes them."""
    for resource in resources.values():
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            properties = resource["Properties"]
            yield (
                properties["FunctionName"]["Ref"],
                properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", {}).get("Fn::GetAtt", [None])[0],
                {key: properties[key] for key in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds") if key in properties},
            )


def schedules(resources):
    """The template's own schedules, as (name, function, role, properties)."""
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Scheduler::Schedule":
            properties = resource["Properties"]
            target = properties["Target"]
            yield name, target["Arn"]["Fn::GetAtt"][0], target["RoleArn"]["Fn::GetAtt"][0], properties


def upload_code():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("bootstrap", "")
    s3 = boto3.client("s3")
    where = {} if s3.meta.region_name == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": s3.meta.region_name}}
    try:
        s3.create_bucket(Bucket=BUCKET, **where)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=archive.getvalue())


def create(template, stack, parameters):
    cloudformation = boto3.client("cloudformation")
    arguments = {
        "StackName": stack,
        "TemplateBody": json.dumps(template),
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }
    try:
        cloudformation.create_stack(**arguments)
        cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    except ClientError as error:
        if error.response["Error"]["Code"] != "AlreadyExistsException":
            raise
        cloudformation.update_stack(**arguments)
        cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    described = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    # moto lists the policy of queues without its names.
    return {resource["LogicalResourceId"]: resource.get("PhysicalResourceId") for resource in described if "LogicalResourceId" in resource}


def policies(function):
    """The policies that the function's role itself holds."""
    iam = boto3.client("iam")
    role = boto3.client("lambda").get_function_configuration(FunctionName=function)["Role"].rpartition("/")[2]
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        # moto writes down as Python what it was given by CloudFormation.
        yield ast.literal_eval(document) if isinstance(document, str) else document


def main():
    path, stack, parameters = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    os.environ.setdefault("AWS_DEFAULT_REGION", os.environ.get("AWS_REGION", "us-east-1"))
    template = translate(path, parameters)
    api, limit = list(routes(template["Resources"])), throttle(template, parameters)
    configs = list(invoke_configs(template["Resources"]))
    timers = list(schedules(template["Resources"]))
    groups = without(template, stack)
    upload_code()
    physical = create(template, stack, parameters)

    scheduler = boto3.client("scheduler")
    for group in groups:
        try:
            scheduler.create_schedule_group(Name=group)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise
    awslambda, sqs, iam = boto3.client("lambda"), boto3.client("sqs"), boto3.client("iam")
    for name, function, role, properties in timers:
        schedule = {
            "Name": f"{stack}-{name}"[:64],
            "FlexibleTimeWindow": properties["FlexibleTimeWindow"],
            "ScheduleExpression": properties["ScheduleExpression"],
            "Target": {
                "Arn": awslambda.get_function_configuration(FunctionName=physical[function])["FunctionArn"],
                "RoleArn": iam.get_role(RoleName=physical[role])["Role"]["Arn"],
                "Input": properties["Target"].get("Input", "{}"),
                "RetryPolicy": properties["Target"].get("RetryPolicy", {}),
            },
        }
        try:
            scheduler.create_schedule(**schedule)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise
            scheduler.update_schedule(**schedule)
    for function, queue, config in configs:
        if queue:
            attributes = sqs.get_queue_attributes(QueueUrl=physical[queue], AttributeNames=["QueueArn"])["Attributes"]
            config["DestinationConfig"] = {"OnFailure": {"Destination": attributes["QueueArn"]}}
        awslambda.put_function_event_invoke_config(FunctionName=physical[function], **config)
    json.dump({
        "routes": api,
        "throttle": limit,
        "functions": {
            logical: {
                "name": physical[logical],
                "folder": resource.get("Metadata", {}).get("Function", ""),
                "policies": list(policies(physical[logical])),
            }
            for logical, resource in template["Resources"].items() if resource["Type"] == "AWS::Lambda::Function"
        },
    }, sys.stdout)


main()
