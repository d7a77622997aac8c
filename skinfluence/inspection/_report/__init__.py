"""The audit report: what was found, as a page on which people decide."""

from .report import AuditReport

__all__ = ["AuditReport"]
