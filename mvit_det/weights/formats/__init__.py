"""The names that each publisher gives to the weights of an MViT."""
