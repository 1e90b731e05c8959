"""What a model learns from: lots, pictures, their tensors, and splits without leaks."""
