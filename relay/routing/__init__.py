"""Which channels may serve a request, in which order, and how they have fared."""
