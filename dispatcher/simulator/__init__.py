"""A stand-in for the Cloud API over real HTTP, written from Meta's papers; it must not know the code that it judges."""

from dispatcher.simulator.faults import AnswerRule, Faults
from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatedNumber, SimulatorSettings, WebhookSettings

__all__ = ["AnswerRule", "Faults", "SimulatedNumber", "Simulator", "SimulatorSettings", "WebhookSettings"]
