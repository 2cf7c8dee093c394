"""A producer in another process, and the native libraries, built by cargo."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))


@pytest.fixture(scope="session")
def built():
    """Folder of the libraries and path of the producer."""
    cargo = ["cargo", "build", "--quiet", "--manifest-path", str(ROOT / "Cargo.toml")]
    subprocess.run(cargo + ["-p", "yarn-ml-native", "-p", "yarn-ml-tf-op"], check=True)
    subprocess.run(cargo + ["-p", "yarn-ml-shm", "--example", "produce"], check=True)
    os.environ["YARN_ML_LIB"] = str(ROOT / "target/debug")
    return ROOT / "target/debug/examples/produce"


class Producer:
    def __init__(self, binary, *arguments):
        path = f"/dev/shm/yarn-ml-test-{os.getpid()}-{id(self)}"
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(path)
        command = f'exec "{binary}" {" ".join(map(str, arguments))} 3<>/proc/{os.getpid()}/fd/{self.descriptor}'
        self.process = subprocess.Popen(
            ["bash", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


@pytest.fixture
def produce(built):
    producers = []

    def start(*arguments):
        producers.append(Producer(built, *arguments))
        return producers[-1]

    yield start
    for producer in producers:
        producer.process.kill()
        producer.process.wait()
        # The descriptor stays open: a process has one ring for a number as long as it lives.
