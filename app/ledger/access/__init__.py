"""Who may use the dashboard and the API: named users, their passwords and their API tokens."""
