"""From frames to poses, without torch: engines, video, pipelines and output files."""
