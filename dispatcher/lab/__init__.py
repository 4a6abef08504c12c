"""The harness: runs real processes, watches and kills them, judges what came of it. For demo, tests and bench."""

from dispatcher.lab.demo import run
from dispatcher.lab.deployment import Options

__all__ = ["Options", "run"]
