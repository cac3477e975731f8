"""From snapshots to bundles: the graph, its rewrites, ONNX, and the proof that it is the same."""
