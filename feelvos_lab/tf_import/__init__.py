"""Import the authors' TensorFlow checkpoints."""
