"""Deploys a SAM template on an AWS emulator, as `sam deploy` does on AWS.

Usage: deploy.py TEMPLATE STACK PARAMETERS [show], PARAMETERS being a JSON object. The
AWS endpoint, region and credentials come from the environment. Writes to standard
output, as JSON, what the emulator does not know of: the HTTP API's routes,
throttle and CORS configuration, and which function is which and may do what.
With "show" it deploys nothing, and PARAMETERS is a list: it writes, for each of its
objects, the resources that CloudFormation would make.

What moto's CloudFormation leaves out is taken from the template first: API
Gateway (the local cloud serves the API), alarms, the dashboard, and Scheduler groups and the
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
import uuid
import zipfile
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError, WaiterError
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

BUCKET, KEY = "local-code", "code.zip"
NOT_DEPLOYED = (
    "AWS::ApiGatewayV2::", "AWS::CloudWatch::", "AWS::Lambda::EventInvokeConfig",
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


def routes(template, parameters):
    """The routes of every HTTP API. That of any method and path has the path "$default" and no method."""
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::ApiGatewayV2::Api":
            continue
        for path, methods in evaluate(template, parameters, resource["Properties"]["Body"]["paths"]).items():
            for method, operation in methods.items():
                uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
                function = re.search(r"functions/\$\{(\w+)\.Arn\}", uri)[1]
                if path == "/$default":
                    yield {"method": "", "path": "$default", "function": function}
                else:
                    yield {"method": method.upper(), "path": path, "function": function}


def evaluate(template, parameters, node):
    """The value of a part of the template. References to resources stay in it."""
    def value(node):
        return evaluate(template, parameters, node)

    def known(name):
        return name in parameters or name in template["Parameters"]

    match node:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": name} if known(name):
            text = str(parameters.get(name, template["Parameters"].get(name, {}).get("Default")))
            return text.split(",") if template["Parameters"].get(name, {}).get("Type") == "CommaDelimitedList" else text
        case {"Fn::Sub": str(text)}:
            text = re.sub(r"\$\{([\w:]+)\}", lambda match: value({"Ref": match[1]}) if known(match[1]) else match[0], text)
            return {"Fn::Sub": text} if "${" in text else text
        case {"Fn::If": [condition, then, otherwise]}:
            return value(then if value(template["Conditions"][condition]) else otherwise)
        case {"Fn::Not": [operand]}:
            return not value(operand)
        case {"Fn::Equals": [left, right]}:
            return str(value(left)) == str(value(right))
        case {"Fn::Split": [separator, text]}:
            return value(text).split(separator)
        case {"Fn::Select": [index, elements]}:
            return value(elements)[int(index)]
        case {"Fn::Join": [separator, elements]} if all(isinstance(element, str) for element in value(elements)):
            return separator.join(value(elements))
        case dict():
            values = {key: value(content) for key, content in node.items()}
            return {key: content for key, content in values.items() if content is not None}
        case list():
            return [content for content in map(value, node) if content is not None]
    return node


def resources(path, stack, parameters):
    """The resources that CloudFormation would make of the template."""
    template = translate(path, parameters)
    parameters = parameters | {
        "AWS::StackName": stack, "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws",
        "AWS::StackId": f"arn:aws:cloudformation:us-east-1:123456789012:stack/{stack}/{uuid.uuid4()}",
    }
    return {
        name: evaluate(template, parameters, resource) for name, resource in template["Resources"].items()
        if "Condition" not in resource or evaluate(template, parameters, template["Conditions"][resource["Condition"]])
    }


def http_api(template, parameters):
    """How many requests the HTTP API's default stage takes, a second and at once, and
    its CORS configuration."""
    throttle, cors = {}, None
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::ApiGatewayV2::Api":
            cors = evaluate(template, parameters, properties["Body"].get("x-amazon-apigateway-cors"))
        if resource["Type"] == "AWS::ApiGatewayV2::Stage" and "DefaultRouteSettings" in properties:
            settings = evaluate(template, parameters, properties["DefaultRouteSettings"])
            throttle = {"rate": float(settings["ThrottlingRateLimit"]), "burst": int(settings["ThrottlingBurstLimit"])}
    return throttle, cors


def without(template, stack):
    """Takes out what is not deployed, and answers the Scheduler groups' names."""
    resources = template["Resources"]
    groups, removed = {}, set()
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::Scheduler::ScheduleGroup":
            value = resource["Properties"].get("Name", f"{stack}-{name}")
            groups[name] = (value["Fn::Sub"] if isinstance(value, dict) else value).replace("${AWS::StackName}", stack)
        if resource["Type"].startswith(NOT_DEPLOYED):
            del resources[name]
            removed.add(name)
    template["Outputs"] = {
        name: output for name, output in template.get("Outputs", {}).items()
        if removed.isdisjoint(re.findall(r"\w+", json.dumps(output["Value"])))
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
    upload(KEY, archive.getvalue())


def upload(key, content):
    """Stores an object where CloudFormation finds it, and returns its URL for the emulator."""
    s3 = boto3.client("s3")
    where = {} if s3.meta.region_name == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": s3.meta.region_name}}
    try:
        s3.create_bucket(Bucket=BUCKET, **where)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    # An emulator reads the URL itself, so the host is its own. moto knows a URL with the
    # bucket in the path only by the name localhost.
    return f"http://localhost:{urlsplit(s3.meta.endpoint_url).port}/{BUCKET}/{key}"


def failures(cloudformation, stack):
    """What the stack's events say of the resources that failed, the first one first."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]]
    for event in reversed(events):
        if event.get("ResourceStatus", "").endswith("_FAILED"):
            yield f"\n{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason is given')}"


def create(template, stack, parameters):
    cloudformation = boto3.client("cloudformation")
    arguments = {
        "StackName": stack,
        # A TemplateBody has at most 51,200 bytes (CloudFormation User Guide, "Quotas").
        "TemplateURL": upload(f"{stack}.json", json.dumps(template)),
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }
    try:
        try:
            cloudformation.create_stack(**arguments)
            done = "stack_create_complete"
        except ClientError as error:
            if error.response["Error"]["Code"] != "AlreadyExistsException":
                raise
            cloudformation.update_stack(**arguments)
            done = "stack_update_complete"
        cloudformation.get_waiter(done).wait(StackName=stack, WaiterConfig={"Delay": 1})
    except ClientError as error:
        sys.exit(f"the stack {stack} cannot be deployed: {error}")
    except WaiterError as error:
        sys.exit(f"the stack {stack} cannot be deployed: {error}" + "".join(failures(cloudformation, stack)))
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


def main(path, stack, parameters, show=""):
    parameters = json.loads(parameters)
    if show:
        return json.dump([resources(path, stack, each) for each in parameters], sys.stdout)
    os.environ.setdefault("AWS_DEFAULT_REGION", os.environ.get("AWS_REGION", "us-east-1"))
    template = translate(path, parameters)
    api, (throttle, cors) = list(routes(template, parameters)), http_api(template, parameters)
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
        "throttle": throttle,
        "cors": cors,
        "functions": {
            logical: {
                "name": physical[logical],
                "folder": resource.get("Metadata", {}).get("Function", ""),
                "policies": list(policies(physical[logical])),
            }
            for logical, resource in template["Resources"].items()
            if resource["Type"] == "AWS::Lambda::Function" and logical in physical  # its condition may be false
        },
    }, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
