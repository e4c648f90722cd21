"""Bytes from outside: files that somebody else wrote, or that changed since they were written.

Every file is read through a module of this folder, which bounds size, nesting and memory before it reads, and turns
whatever a parser raises into a `UelError`. A test of the house (`tests/house/test_outside.py`) finds readers elsewhere.
"""
