"""What belongs to an organization, for its members."""
