"""What a request costs, and where list prices come from."""
