"""Data sets, augmentation, batches and data loaders."""
