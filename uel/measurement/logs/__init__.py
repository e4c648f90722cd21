"""Logs of phones and drive tests: any usual file becomes reports; every value that is not used is named by a rule."""
