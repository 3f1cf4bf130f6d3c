"""Folders and files by URI, on a disk or in an object store, with atomic writes, retries and readable errors."""
