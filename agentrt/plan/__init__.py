"""How many GPUs a model needs for a team, how fast it could be and what it costs: estimates with every source named."""

from agentrt.plan.models import Model, find
from agentrt.plan.money import ApiPrice, Basis
from agentrt.plan.output import SCHEMA, document
from agentrt.plan.planner import Plan, Request, make_plan
from agentrt.plan.roofline import Pace
from agentrt.plan.sizing import Work

__all__ = ["SCHEMA", "ApiPrice", "Basis", "Model", "Pace", "Plan", "Request", "Work", "document", "find", "make_plan"]
