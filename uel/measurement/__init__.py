"""Reports of phones: their model (sampling and likelihood), files and drive tests."""
