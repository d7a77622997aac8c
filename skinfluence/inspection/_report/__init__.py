"""The audit report: the findings, and the page on which they are reviewed."""

from .report import AuditReport

__all__ = ["AuditReport"]
