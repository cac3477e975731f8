"""Images and labels, augmented while they train a network."""
