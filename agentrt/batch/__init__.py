"""Batches: hundreds of sessions in each of a few workers, on this machine or on a Ray cluster, each task done once."""

from agentrt.batch.desk import AgentFor, Crew, Order
from agentrt.batch.fleet import Fleet, Worker, WorkerLost
from agentrt.batch.outcome import Outcome
from agentrt.batch.pool import LocalFleet
from agentrt.batch.results import ResultsFile, ResultsStream
from agentrt.batch.run import Batch
from agentrt.batch.tasks import Job, Task, batch_name, jobs, read_tasks

__all__ = [
    "AgentFor",
    "Batch",
    "Crew",
    "Fleet",
    "Job",
    "LocalFleet",
    "Order",
    "Outcome",
    "ResultsFile",
    "ResultsStream",
    "Task",
    "Worker",
    "WorkerLost",
    "batch_name",
    "jobs",
    "read_tasks",
]
