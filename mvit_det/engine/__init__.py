"""What the training and evaluation of both integrations share."""
