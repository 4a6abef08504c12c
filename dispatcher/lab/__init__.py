"""`make demo`: a campaign and one-time passwords on real parts, a worker killed on the way, and what came of it."""

from dispatcher.lab.options import Options
from dispatcher.lab.run import run

__all__ = ["Options", "run"]
