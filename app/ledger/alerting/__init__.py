"""Conditions worth an alert, and the incidents built from them."""
