"""Drop folders: HL7 files and batches, CSV, fixed width. A folder is looked at by itself (role `poll`), nobody calls us."""
