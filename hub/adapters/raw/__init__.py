"""Pass-through: adapters that carry messages as they were received ([[routes]] with from_channels)."""
