"""Starts the moto server for the local cloud and prints its port.

It ends when its standard input does, so that it never outlives the program that
started it.

By itself moto calls mapped functions, in Docker and with simplified events, as
soon as a queue or a table receives something, and empties the table's stream by
that. The local cloud does this as Lambda does; so moto's own list of what is
mapped stays empty here. The mappings remain listed by its Lambda API.
"""

import functools
import logging
import os
import sys
import threading

import moto.dynamodb.models
import moto.dynamodb.models.table
import moto.sqs.models
from moto.server import ThreadedMotoServer


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


for write in ("put_item", "update_item", "delete_item", "transact_write_items"):
    backend = moto.dynamodb.models.DynamoDBBackend
    setattr(backend, write, one_at_a_time(getattr(backend, write)))

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
