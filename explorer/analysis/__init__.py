"""Pure functions behind the pages: artefacts, fixes, trials, charts, tables."""
