"""Files of the plant: finding them, reading them, and what is wrong with them."""
