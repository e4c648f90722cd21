"""The 3-D map: marks, deck.gl layers, glTF scenes, ground images."""
