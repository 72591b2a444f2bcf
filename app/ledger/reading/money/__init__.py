"""The money of Sales: refunds, disputes, and amounts at stake."""
