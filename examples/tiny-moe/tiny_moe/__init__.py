"""A small world of tools, and a mixture of experts that was trained to use them."""
