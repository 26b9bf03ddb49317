"""Reading files of weights without executing anything in them."""
