"""Where a backbone comes from: a folder, the hub, a package, an address."""
