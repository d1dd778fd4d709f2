"""What belongs to the site, for its operators: by Django's permissions, as in the admin."""
