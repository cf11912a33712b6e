"""The hub.toml that `hub init` writes: what is on, and as comments what can be switched on next."""

from __future__ import annotations

HEAD = """\
# Hospital Hub. Every key is explained in docs/configuration.md; `hub check` tells what is wrong and in which line.
# Secrets never stand here: write {{ file = "secrets/NAME" }} (relative to this file) or {{ env = "NAME" }}.

[hub]
name = "Hospital Hub"
assigner = "HOSP"            # assigning authority of numbers that come without one (HL7 CX.4)
timezone = "Asia/Seoul"      # of times that come without an offset

[database]
url = {database}

{broker}
[web]
host = "127.0.0.1"           # API and console; put a TLS proxy in front, or set tls_cert and tls_key, before you open it
port = {web_port}

[keys]
folder = "secrets"           # data.key seals message bodies, audit.key signs checkpoints: back them up apart from the database

[audit]
checkpoint_file = "audit-checkpoints.txt"   # have it copied off this host: it is what proves the log

[retention]                  # days until a message's body is deleted; what is undelivered stays
done_days = 30
ignored_days = 7
refused_days = 30
dead_days = 90

[limits]
disk_free_mb = 500           # with less, intake answers "try again" instead of breaking

# Who may set a field, where the shipped rules do not fit (docs/configuration.md, "Authority"):
# [authority]
# "Patient.telecom" = {{ systems = ["crm", "ocs"], policy = "newest" }}

# ---- in: the OCS sends HL7 v2 over MLLP ----------------------------------------------------------------------------
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
host = "127.0.0.1"           # 0.0.0.0 takes connections from other machines
port = {mllp_port}
# accept = ["ADT", "SIU"]    # other events end ignored
# charset = "cp949"          # where MSH-18 is empty or wrong
"""

BROKER_ON = """\
[broker]
url = {broker}       # wake-up calls for Celery workers; no patient data; losing it costs latency only
"""
BROKER_OFF = """\
# [broker]
# url = "redis://127.0.0.1:6379/0"   # wake-up calls for Celery workers; without it hub run does all the work itself
"""
CRM_ON = """
# ---- out: the CRM gets a signed webhook for every change -------------------------------------------------------------
[channels.crm-webhook]
adapter = "crm.webhook"
system = "crm"
url = {crm_url}
secrets = [{{ file = "secrets/crm-webhook.secret" }}]   # two while rotating, the new one first
"""
CRM_OFF = """
# ---- out: the CRM gets a signed webhook for every change -------------------------------------------------------------
# [channels.crm-webhook]
# adapter = "crm.webhook"
# system = "crm"
# url = "https://crm.example.org/hooks/hub"
# secrets = [{{ file = "secrets/crm-webhook.secret" }}]   # whsec_…, two while rotating, the new one first
"""
MORE = """
# ---- in: other systems look patients up, PDQ and PIX (docs/pdq-pix.md) ---------------------------------------------------
# [channels.look-up]
# adapter = "ocs.hl7_query"
# system = "ocs"
# port = 2577
# askers = ["CRM"]             # MSH-3 of who may ask

# ---- out: what the front office changes goes back to the systems that own it -----------------------------------------
# [channels.ocs-out]
# adapter = "ocs.hl7_out"
# system = "ocs"
# host = "ocs.example.org"
# port = 2576

# [channels.emr]
# adapter = "emr.fhir_patient"
# system = "emr"
# url = "https://emr.example.org/fhir"
# identifier_systems = {{ HOSP = "urn:oid:1.2.410.100110.10" }}   # how the EMR writes the numbers of each assigner
# token = {{ file = "secrets/emr.token" }}

# [channels.erp]
# adapter = "erp.business_partner"
# system = "erp"
# url = "https://sap.example.org/sap/opu/odata/sap/API_BUSINESS_PARTNER"
# identification_type = "ZMRN"   # BPIdentificationType under which SAP keeps the patient number
# user = "HUB"
# password = {{ file = "secrets/erp.password" }}

# ---- in: SAP and the PACS (docs/erp-sap-in.md, erp-idoc.md, pacs-dicom.md, pacs-query.md, pacs-hl7.md) --------------------
# [channels.erp-bills]
# adapter = "erp.odata_in"
# system = "erp"
# url = "https://sap.example.org/sap/opu/odata/sap/API_BILLING_DOCUMENT_SRV"
# set = "A_BillingDocument"
# user = "HUB"
# password = {{ file = "secrets/erp.password" }}

# [channels.modalities]
# adapter = "pacs.dicom_in"    # what they do (MPPS), and of what they store the header
# system = "pacs"
# port = 11112
# peers = {{ CT1 = "10.1.2.0/24" }}   # AE titles that may call, and from where

# [channels.worklist]
# adapter = "pacs.worklist"    # what they are to do
# system = "pacs"
# port = 11113
# peers = {{ CT1 = "10.1.2.0/24" }}

# [channels.archive]
# adapter = "pacs.dicom_poll"  # what the PACS has, by C-FIND
# system = "pacs"
# host = "pacs.example.org"
# port = 104
# called_ae = "PACS"
# calling_ae = "HUB"
"""


def render(*, mllp_port: int, web_port: int, crm_url: str | None, database: str, broker: str | None) -> str:
    """The text; `database` and `broker` are TOML values already."""
    broker_part = BROKER_OFF if broker is None else BROKER_ON.format(broker=broker)
    crm_part = CRM_OFF.format() if crm_url is None else CRM_ON.format(crm_url=quoted(crm_url))
    return HEAD.format(database=database, broker=broker_part, web_port=web_port, mllp_port=mllp_port) + crm_part + MORE.format()


def quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
