"""Videos: started by a request, made elsewhere for minutes, charged once they are complete."""
