"""How far poses and boxes are from their labels."""
