"""The processes: what runs, who restarts it, with which secrets and database."""
