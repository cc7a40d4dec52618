"""A report on trainings as one HTML file."""

from .writing import write_report

__all__ = ['write_report']
