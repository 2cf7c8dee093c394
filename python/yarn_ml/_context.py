"""Who this process is in its job."""

import dataclasses
import json
import os
import typing

from . import _agent, _ring

_CONTEXT, _SOCKET, _RING = "YARN_ML_CONTEXT", "YARN_ML_SOCKET", "YARN_ML_RING_INPUT"


@dataclasses.dataclass(frozen=True)
class Input:
    """What the ranks of a role read. `columns`: list of {"name", "type", "nullable"}."""

    stream: str
    columns: list
    batch: int
    epochs: int
    instances: int


@dataclasses.dataclass(frozen=True)
class Context:
    """Everything that the job tells a trainer. Folders are local; the agent carries them to their final places."""

    application_id: str
    job: str
    role: str
    index: int
    epoch: int
    attempt: int
    cluster: dict
    strategy: str
    params: dict
    inputs: dict
    work_dir: str
    checkpoint_dir: str
    model_dir: str
    log_dir: str


_context: typing.Optional[Context] = None
_connection: typing.Optional[_agent.Agent] = None


def context() -> Context:
    """The context of this process."""
    global _context
    if _context is None:
        path = os.environ.get(_CONTEXT)
        if path is None:
            raise RuntimeError(f"this process was not started by yarn-ml: the environment has no {_CONTEXT}")
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        fields["inputs"] = {role: Input(**read) for role, read in fields["inputs"].items()}
        _context = Context(**fields)
    return _context


def connection() -> _agent.Agent:
    """The conversation with the agent."""
    global _connection
    if _connection is None:
        descriptor = os.environ.get(_SOCKET)
        if descriptor is None:
            raise RuntimeError(f"this process was not started by yarn-ml: the environment has no {_SOCKET}")
        _connection = _agent.Agent(int(descriptor))
    return _connection


def input() -> _ring.RingReader:  # noqa: A001, the name that users know
    """The batches of this rank: mappings of column name to NumPy array, zero-copy.

    A batch counts as trained on when the next one, or the end, is asked for.
    """
    descriptor = os.environ.get(_RING)
    if descriptor is None:
        raise RuntimeError(f"role {context().role} has no `input:` in the job file")
    return _ring.RingReader(int(descriptor))


def report(**values):
    """Shows values to people: `report(step=10, loss=0.4)`."""
    connection().send("report", values=values)


def stop(reason: str):
    """Declares that ending before the end of data is meant. The program still ends by itself."""
    connection().send("stop", reason=str(reason))
