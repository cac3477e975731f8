"""The files DeepLabCut 3 writes, and a report of the run beside them."""
