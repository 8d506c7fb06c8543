"""Benchmark label-efficient learning: embed a pool once, train, select, label, measure, report."""

__version__ = "0.1.0"
