"""Pages for people who support customers: why a purchase is not credited, and how many Sales carry a click ID."""
