"""Parts that several backbones and heads are made of."""
