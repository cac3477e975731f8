"""What users call: train, evaluate, analyse, under DeepLabCut's names."""
