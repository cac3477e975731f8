"""DeepLabCut projects on disk: read, split, and prepared for training."""
