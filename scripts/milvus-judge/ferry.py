"""Ferry as its users have it: the binary, a cluster of `ferry dev`, the command line."""

import json
import os
import signal
import subprocess

PREFIX = "export FERRY_ENDPOINTS="


class Refused(Exception):
    """A command did not do what it was asked."""


class Ferry:
    """A cluster in one process, and commands against it."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder
        self.environment = {**os.environ}

    def __enter__(self):
        self.folder.mkdir()
        self.log = open(self.folder / "log", "w")
        command = [self.binary, "dev", "--port", "0", "--dir", self.folder / "data"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline().strip()
        if not line.startswith(PREFIX):
            raise RuntimeError(f"ferry dev did not start: {(self.folder / 'log').read_text()}")
        self.environment["FERRY_ENDPOINTS"] = line.removeprefix(PREFIX)
        return self

    def __exit__(self, kind, error, trace):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        self.log.close()

    def run(self, *arguments):
        """Runs one command and returns its answer."""
        command = [self.binary, "--output", "json", *map(str, arguments)]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if ended.returncode:
            words = " ".join(map(str, arguments))
            raise Refused(f"exit code {ended.returncode} of: ferry {words}\n{ended.stderr}{ended.stdout}")
        return json.loads(ended.stdout)
