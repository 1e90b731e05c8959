"""Models for photos: networks, their training, and a linear layer on a given backbone."""
