"""How the network is computed: fast implementations behind functions that fall back to PyTorch operators."""
