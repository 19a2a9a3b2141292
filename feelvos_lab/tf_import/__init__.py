"""Convert the authors' TensorFlow checkpoint to a state dict of this model."""
