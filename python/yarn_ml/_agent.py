"""The conversation with the agent: JSON lines over an inherited socket."""

import json
import os
import queue
import socket
import threading


class Agent:
    """Sends at once; replies are read by a thread that does not keep the program alive."""

    def __init__(self, descriptor):
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._lock = threading.Lock()
        self._replies = {}
        self.drain = threading.Event()
        threading.Thread(target=self._listen, name="yarn-ml-agent", daemon=True).start()

    def send(self, kind, **fields):
        line = json.dumps({"type": kind, **fields}).encode() + b"\n"
        with self._lock:
            self._socket.sendall(line)

    def ask(self, kind, reply, **fields):
        """Sends, and waits for the reply of this kind."""
        waiting = self._waiting(reply)
        self.send(kind, **fields)
        answer = waiting.get()
        if answer is None:
            raise ConnectionError("the agent is gone")
        return answer

    def wait(self, *replies):
        """The next reply of one of these kinds, which share a queue."""
        answer = self._waiting(replies[0]).get()
        if answer is None:
            raise ConnectionError("the agent is gone")
        return answer

    def _waiting(self, reply):
        with self._lock:
            return self._replies.setdefault(_queue_of(reply), queue.Queue())

    def _listen(self):
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if message["type"] == "drain":
                        self.drain.set()
                    else:
                        self._waiting(message["type"]).put(message)
        except OSError:
            pass
        with self._lock:
            for waiting in self._replies.values():
                waiting.put(None)


def _queue_of(reply):
    return "checkpoint" if reply.startswith("checkpoint") else reply
