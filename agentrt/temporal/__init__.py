"""Sessions on Temporal (``agentrt[temporal]``): a session is a workflow, each model call and tool call an activity."""

from agentrt.temporal.client import connect, records, result, run, start, transcript, worker
from agentrt.temporal.wire import Terms

__all__ = ["Terms", "connect", "records", "result", "run", "start", "transcript", "worker"]
