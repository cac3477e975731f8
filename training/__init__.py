"""From labels to snapshots: models, data and runners of DeepLabCut 3, under its names."""
