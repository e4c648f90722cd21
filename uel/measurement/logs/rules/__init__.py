"""Rules by which measurements are used or set aside: what levels can be, whose they are, where they were made."""
