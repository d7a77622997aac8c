"""The same problem solved by skinfluence and by other libraries of data attribution."""

from .measure import run

__all__ = ["run"]
