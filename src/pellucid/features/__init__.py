"""What a network has learned inside: activations, examples, receptive fields, and pictures of it."""
