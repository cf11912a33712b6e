"""HL7 v2 from the PACS or the RIS over MLLP: reports (ORU^R01) above all, orders and their states. The listener of ocs.hl7_in."""

from __future__ import annotations

from dataclasses import replace

from hub.adapters.ocs import hl7_in
from hub.adapters.ocs.hl7_in import Settings, build

MANIFEST = replace(hl7_in.MANIFEST, name="pacs.hl7_in", title="HL7 v2 from the PACS over MLLP", system="pacs")

__all__ = ["MANIFEST", "Settings", "build"]
