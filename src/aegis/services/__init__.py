"""Services that Aegis knows: one preset a file, and what turns a suite's entry into something that can be started."""

from aegis.services.registry import check, make, names

__all__ = ["check", "make", "names"]
