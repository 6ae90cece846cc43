"""What files say of a backbone, and the manifest that is made of it."""
