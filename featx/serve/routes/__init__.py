"""Routes: what may be asked, and the items that are sent."""
