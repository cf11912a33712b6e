"""What every target of HL7 v2 messages shares, whatever system listens: segments, and one message on its way (target.py)."""
