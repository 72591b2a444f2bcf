"""Conditions worth an alert, and the incidents made of them."""
