"""OCS (order communication system): HL7 v2 over MLLP, both ways."""
