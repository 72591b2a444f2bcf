"""What people ask who support customers: what is parked and why, why a purchase is not credited."""
