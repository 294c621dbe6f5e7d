"""One danger per file: files, git, the ledger, the queue folder, processes, the clock."""
