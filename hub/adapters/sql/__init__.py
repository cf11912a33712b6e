"""What adapters for tables share: statements, watermarks, the clean-up of rows. No adapter by itself."""
