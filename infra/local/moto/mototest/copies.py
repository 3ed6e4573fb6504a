"""Runs a command, such as `go test`, whose test binaries each get a copy of one emulator.

Usage: copies.py COMMAND…. The exit status is the command's.

Starting moto and deploying the template takes longer than most packages' tests.
So this program does both once, when the first test binary connects to the socket
that the variable MOTO_COPIES names. For each connection the program forks: the copy
serves the deployed stack on a port of its own and writes {"port", "stack"} to the
connection. The copies share no state, and each ends when its connection does.

The socket's path is always the same, because `go test` runs a test again if a
variable that the test reads has changed.
"""

import contextlib
import importlib.util
import io
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(FOLDER, "../../../.."))


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, os.path.join(ROOT, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def deploy():
    """Deploys the template, and returns moto's program and the stack's description."""
    # moto warns of each resource of the template that its CloudFormation leaves out.
    warnings.simplefilter("ignore")
    logging.getLogger("moto").setLevel(logging.ERROR)
    moto, deployment = load("server", "infra/local/moto/server.py"), load("deploy", "infra/local/stack/deploy.py")
    server = moto.Server()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true",
    }
    description = io.StringIO()
    with contextlib.redirect_stdout(description):
        deployment.main(os.path.join(ROOT, "template.yaml"), "test", "{}")
    server.stop()
    # A fork copies only one thread. The locks that another one holds would stay locked.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    return moto, json.loads(description.getvalue())


def serve(listener, command_runs):
    """Forks for each connection, until the pipe to the process that runs the command closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that ended leave no zombies
    moto = None
    while command_runs not in select.select([listener, command_runs], [], [])[0]:
        connection, _ = listener.accept()
        if moto is None:
            moto, stack = deploy()
        if os.fork() == 0:
            listener.close()
            port = moto.Server().port
            connection.sendall(json.dumps({"port": port, "stack": stack}).encode() + b"\n")
            connection.recv(1)
            os._exit(0)
        connection.close()


def main(command):
    path = os.path.join(ROOT, ".build", "moto.sock")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(writer)
            serve(listener, reader)
            os._exit(0)
    os.close(reader)
    sys.exit(subprocess.call(command, env=os.environ | {"MOTO_COPIES": path}))


main(sys.argv[1:])
