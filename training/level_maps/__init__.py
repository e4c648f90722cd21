"""Networks that predict a district's maps of levels, and weigh what they say, learned from measured districts."""
