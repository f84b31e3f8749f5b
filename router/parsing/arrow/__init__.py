"""Rows that come as an Arrow stream for one table: checked and placed column by column, without any text."""
