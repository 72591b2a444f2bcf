"""Whether conversions can be credited: what was received and sent of a purchase, and whether it carried a click ID."""
