"""Labelled images as datasets: loaders, transforms and what joins samples to batches."""
