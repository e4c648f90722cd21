"""Formats of logs: tables of any layout, JSON of any nesting, a modem's text; all end as measurements of cells."""
