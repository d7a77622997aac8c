"""Estimators in folders, without pickle."""
