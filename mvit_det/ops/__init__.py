"""How the network is computed, one operation a file, each with a plain PyTorch form beside it."""
