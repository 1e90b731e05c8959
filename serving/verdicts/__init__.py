"""From an uploaded photo to a verdict."""
