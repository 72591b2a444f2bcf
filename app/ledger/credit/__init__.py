"""Whether conversions can be credited: the events and deliveries of a purchase, and whether it carried a click ID."""
