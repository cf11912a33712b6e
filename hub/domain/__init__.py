"""What the hub is about, in the standard library only: model, facts, message life-cycle, ports, errors."""
