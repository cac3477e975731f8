"""How good a trained model is: predictions of labelled images, their figures, tables and pictures.

predict ──▶ evaluate ──▶ figures ──▶ -results.csv, CombinedEvaluation-results.csv
│            └────▶ per bodypart ─▶ -keypoint-results.csv
└──▶ table (.h5) and pictures (LabeledImages_...)
"""
