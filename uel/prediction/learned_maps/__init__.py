"""Maps of a network's levels learned from measured districts: for districts of which no level is labelled."""
