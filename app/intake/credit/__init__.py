"""Why a purchase is not credited: what is wrong with it, and what to do."""
