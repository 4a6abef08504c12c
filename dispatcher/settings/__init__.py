"""What a process is told before it starts: its settings, and the numbers it may send from."""

from dispatcher.settings.numbersfile import Number, NumbersFile
from dispatcher.settings.settings import PREFIX, Settings

__all__ = ["PREFIX", "Number", "NumbersFile", "Settings"]
