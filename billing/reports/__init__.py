"""What people read of their money and usage."""
