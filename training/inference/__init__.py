"""Trained models run by PyTorch, through the pipelines of the runtime."""
