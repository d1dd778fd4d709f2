"""The ground that every app's admin pages stand on. Knows no app."""
