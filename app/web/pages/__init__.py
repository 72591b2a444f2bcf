"""The pages of the dashboard, a module each; app/web/dashboard.py puts them together."""
