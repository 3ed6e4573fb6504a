"""Starts the moto server for the local cloud and prints its port.

It ends when its standard input does, so that it never outlives the program that
started it.

By itself moto calls mapped functions, in Docker and with simplified events, as
soon as a queue or a table receives something, and empties the table's stream by
that. The local cloud does this as Lambda does; so moto's own list of what is
mapped stays empty here. The mappings remain listed by its Lambda API.

Nor does moto look at who asks. Triggers are given queues because their keys can
read them, so that SQS here takes a key for what IAM says it is: one that IAM does
not know, that comes with a wrong secret or lacks a permission is refused. The key
"local" is the operator's and may everything.
"""

import collections
import copy
import functools
import logging
import os
import re
import sys
import threading
import time

# Queues of another cloud are in regions that are none of AWS's; moto reads this
# when it is imported.
os.environ["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"

import moto.backends
import moto.dynamodb.models
import moto.dynamodb.models.table
import moto.sqs.models
from moto.cloudformation.parsing import ResourceMap
from moto.core.exceptions import JsonRESTError
from moto.core.serialize import JSONSerializer
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.iam.access_control import IAMRequest
from moto.server import DomainDispatcherApplication, create_backend_app
from moto.sqs.responses import SQSResponse
from waitress import create_server, wasyncore
from werkzeug.exceptions import HTTPException


class Nothing(dict):
    def __setitem__(self, key, value):
        pass


for mapped in (moto.sqs.models.Queue, moto.dynamodb.models.table.Table):
    mapped.lambda_event_source_mappings = property(lambda self: Nothing(), lambda self, mappings: None)

writing = threading.RLock()


def one_at_a_time(write):
    @functools.wraps(write)
    def locked(*args, **kwargs):
        with writing:
            return write(*args, **kwargs)

    return locked


def undoing(transact):
    """Undoes a cancelled transaction by its items. moto puts copies in the place of
    the tables: who reads a table's stream then waits at one that nothing comes to any
    more, and each transaction takes the longer the more there is in the tables."""

    @functools.wraps(transact)
    def undone(self, transact_items):
        touched, streams = [], {}
        for operation in (next(iter(item.values())) for item in transact_items):
            table = self.tables.get(operation["TableName"])
            if table is None:
                continue
            key = DynamoType(operation.get("Key", operation.get("Item"))[table.hash_key_attr])
            touched.append((table, key, copy.deepcopy(table.items.get(key))))
            if table.stream_shard:
                streams.setdefault(table.name, (table.stream_shard, len(table.stream_shard.items)))
        try:
            return transact(self, transact_items)
        except Exception:
            for table, key, before in touched:
                if before is None:
                    table.items.pop(key, None)
                else:
                    table.items[key] = before
            for stream, length in streams.values():
                del stream.items[length:]
            raise

    return undone


def project(self, item):
    """What an index holds of an item. moto makes JSON of the whole item and back, once
    for each attribute."""
    if self.projection and self.projection.get("ProjectionType") != "ALL":
        names = {*self.table_key_attrs, *(key["AttributeName"] for key in self.schema), *self.projection.get("NonKeyAttributes", [])}
        item.attrs = {name: value for name, value in item.attrs.items() if name in names}
    return item


# The longest time in seconds until a receive that waits sees what nobody did at the queue:
# the end of a delay or of a visibility timeout.
LOOK_EVERY = 0.1
changed = collections.defaultdict(lambda: threading.Condition(writing))


def queue_condition(backend, queue_name):
    return changed[backend.account_id, backend.region_name, queue_name]


def waking(change):
    """Lets the receives that wait at a queue look at once after a change of it."""

    @functools.wraps(change)
    def woken(self, queue_name, *args, **kwargs):
        with writing:
            result = change(self, queue_name, *args, **kwargs)
            queue_condition(self, queue_name).notify_all()
        return result

    return woken


def receive(once):
    """Lets others at the queues while a receive waits for a message, and a group of
    a FIFO queue begin with its first message: moto frees a group only when it has
    passed the last one of it that was in flight."""

    def free(self, queue_name):
        pending = self.get_queue(queue_name).pending_messages
        pending -= {message for message in pending if message.visible}

    @functools.wraps(once)
    def waiting(self, queue_name, count, wait_seconds_timeout, *args, **kwargs):
        end = time.monotonic() + wait_seconds_timeout
        with writing:
            while True:
                free(self, queue_name)
                messages = once(self, queue_name, count, 0, *args, **kwargs)
                left = end - time.monotonic()
                if messages or left <= 0:
                    return messages
                queue_condition(self, queue_name).wait(min(left, LOOK_EVERY))

    return waiting


class Copying:
    """Copies for moto's DynamoDB: no table to keep its state before a transaction, and
    of what a query found only what is then taken away from."""

    copy = staticmethod(copy.copy)

    @staticmethod
    def deepcopy(thing):
        if isinstance(thing, moto.dynamodb.models.table.Table):
            return thing
        if isinstance(thing, list) and all(isinstance(item, Item) for item in thing):
            return [shallow(item) for item in thing]
        return copy.deepcopy(thing)


def shallow(item):
    its = Item.__new__(Item)
    its.hash_key, its.range_key, its.attrs = item.hash_key, item.range_key, dict(item.attrs)
    return its


moto.dynamodb.models.copy = moto.dynamodb.models.table.copy = Copying
moto.dynamodb.models.table.SecondaryIndex.project = project
DynamoDB = moto.dynamodb.models.DynamoDBBackend
DynamoDB.transact_write_items = undoing(DynamoDB.transact_write_items)

def keyed(update):
    """Refuses an empty key, as DynamoDB does (Developer Guide, "Constraints", empty values for
    key attributes). moto takes it for a row that is not there."""

    @functools.wraps(update)
    def checked(self, table_name, key, *args, **kwargs):
        for name, value in key.items():
            if value in ({"S": ""}, {"B": ""}):
                raise MockValidationException(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "
                    f"an empty string value. Key: {name}"
                )
        return update(self, table_name, key, *args, **kwargs)

    return checked


DynamoDB.update_item = keyed(DynamoDB.update_item)


def bounded(query):
    """Refuses a page that begins outside of the range of the query, as DynamoDB does. moto
    takes any place for the beginning."""

    @functools.wraps(query)
    def checked(self, table_name, hash_key, comparison, bounds, limit, start, *args, index_name=None, **kwargs):
        if start and comparison == "BETWEEN" and "S" in bounds[0]:
            schema = self.get_schema(table_name, index_name)
            place = next(start[key["AttributeName"]] for key in schema if key["KeyType"] == "RANGE")
            if not bounds[0]["S"] <= place["S"] <= bounds[1]["S"]:
                raise MockValidationException("The provided starting key is outside query boundaries based on provided conditions")
        return query(self, table_name, hash_key, comparison, bounds, limit, start, *args, index_name=index_name, **kwargs)

    return checked


DynamoDB.query = bounded(DynamoDB.query)


def copied(operation):
    """Returns copies of items. moto makes JSON of the items themselves while others
    change them, and fails then."""

    @functools.wraps(operation)
    def copying(*args, **kwargs):
        with writing:
            match operation(*args, **kwargs):
                case Item() as item:
                    return shallow(item)
                case (list() as items, *rest):
                    return [shallow(item) for item in items], *rest
                case other:
                    return other

    return copying


for operation in ("get_item", "query", "scan", "put_item", "update_item", "delete_item"):
    setattr(DynamoDB, operation, copied(getattr(DynamoDB, operation)))
DynamoDB.transact_write_items = one_at_a_time(DynamoDB.transact_write_items)
SQS = moto.sqs.models.SQSBackend
for change in ("send_message", "delete_message", "change_message_visibility"):
    setattr(SQS, change, waking(getattr(SQS, change)))
SQS.receive_message = receive(SQS.receive_message)


def attribute(serializer, value):
    """A DynamoDB attribute as JSON has it, for what a response holds of items. moto looks
    in each attribute for all ten types there are, under several names each: two thirds of
    the time of a GetItem."""
    ((kind, content),) = value.items()
    match kind:
        case "M":
            content = {name: attribute(serializer, element) for name, element in content.items()}
        case "L":
            content = [attribute(serializer, element) for element in content]
        case "B":
            content = serializer._base64(content)
        case "BS":
            content = [serializer._base64(element) for element in content]
    return {kind: content}


def straight(serialize):
    @functools.wraps(serialize)
    def structure(self, serialized, value, shape, key):
        if shape.name == "AttributeValue":
            serialized[key] = attribute(self, value)
        else:
            serialize(self, serialized, value, shape, key)

    return structure


JSONSerializer._serialize_type_structure = straight(JSONSerializer._serialize_type_structure)


def retaining(delete):
    """Retains what a stack that is deleted retains. moto takes the deletion policy
    RetainExceptOnCreate for Delete."""

    @functools.wraps(delete)
    def deleted(self):
        for resource in self._resource_json_map.values():
            if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
                resource["DeletionPolicy"] = "Retain"
        delete(self)

    return deleted


ResourceMap.delete = retaining(ResourceMap.delete)


def authorize(self, resource="*"):
    credential = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
    if not credential or credential[1] == "local":
        return
    try:
        request = IAMRequest(
            account_id=self.current_account, method=self.method, path=self.path,
            data=self.data, body=self.body, headers=self.headers, action=self._get_action(),
        )
        request.check_signature()
        request.check_action_permitted(resource)
    except HTTPException as refusal:
        told = JsonRESTError(refusal.error_type, refusal.message)
        told.code = refusal.code
        raise told


SQSResponse._authenticate_and_authorize_normal_action = authorize

# moto looks into its own directory at each request.
modules = frozenset(moto.backends.list_of_moto_modules())
moto.backends.list_of_moto_modules = lambda: modules

# Waitress warns of requests that wait for a thread.
logging.getLogger("waitress").setLevel(logging.ERROR)


class Server:
    """Serves moto on a free port of the loopback address. moto's own server opens a thread
    for each connection and closes the connection after each request; under load, clients
    lost answers by that and did their changes twice."""

    def __init__(self):
        moto_application = DomainDispatcherApplication(create_backend_app)

        def application(environ, start_response):
            environ["RAW_URI"] = environ["REQUEST_URI"]  # moto reads werkzeug's name for it
            return moto_application(environ, start_response)

        self._connections = {}
        # Each receive that waits for a message holds a thread. select, the default, knows
        # 1,024 connections at most.
        self._server = create_server(
            application, map=self._connections, listen="127.0.0.1:0",
            threads=256, connection_limit=8192, backlog=1024, asyncore_use_poll=True,
        )
        self.port = int(self._server.effective_port)
        self._loop = threading.Thread(target=self._server.run, daemon=True)
        self._loop.start()

    def stop(self):
        """Closes all connections and returns when no thread is left."""
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._connections))
        self._loop.join()
        self._server.task_dispatcher.shutdown()


if __name__ == "__main__":
    print(Server().port, flush=True)
    sys.stdin.read()
    os._exit(0)
