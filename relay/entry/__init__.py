"""What a request meets before anything is known of it: whose key it is, its form, how many it may send."""
