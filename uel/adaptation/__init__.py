"""What labelled reports teach about one deployment: map correction, azimuths, mast heights."""
