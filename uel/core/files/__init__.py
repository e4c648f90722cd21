"""Names, locks, faults and removal of files and folders. No framework is imported here."""
