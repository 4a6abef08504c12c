"""A stand-in for the Cloud API over real HTTP, written from Meta's papers; it must not know the code that it judges."""

from dispatcher.simulator.faults import Faults
from dispatcher.simulator.rules import Rule
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import Number, SimulatorSettings
from dispatcher.simulator.webhooks.settings import WebhookSettings

__all__ = ["Faults", "Number", "Rule", "Simulator", "SimulatorSettings", "WebhookSettings"]
